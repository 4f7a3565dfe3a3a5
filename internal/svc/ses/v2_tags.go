package ses

import (
	"context"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// taggable finds the resource an ARN names and calls change with its tags; what
// change returns is stored. change may run again.
func (s *Service) taggable(ctx context.Context, arn string, change func([]sestina.Tag) ([]sestina.Tag, error)) error {
	scope := scopeOf(ctx)
	a, err := sestina.ParseARN(arn)
	if err != nil || a.Service != "ses" || a.Scope() != scope {
		return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "Resource ARN was not found.")
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	switch kind {
	case "configuration-set":
		if set, err := s.Sets.Find(ctx, scope, name); err != nil {
			return err
		} else if set == nil {
			return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "No ConfigurationSet present with name: %s", name)
		}
		return s.changeSet(ctx, scope, name, func(_ store.Tx, set *sestina.ConfigurationSet) (err error) {
			set.Tags, err = change(set.Tags)
			return err
		})
	case "identity":
		if id, err := s.Identities.Find(ctx, scope, name); err != nil {
			return err
		} else if id == nil {
			return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "No EmailIdentity present with name: %s", name)
		}
		_, err := s.changeIdentity(ctx, scope, name, func(id *sestina.Identity) (err error) {
			id.Tags, err = change(id.Tags)
			return err
		})
		return err
	case "dedicated-ip-pool":
		return s.changePool(ctx, name, func(p sestina.DedicatedIPPool) (_ *sestina.DedicatedIPPool, err error) {
			p.Tags, err = change(p.Tags)
			return &p, err
		})
	}
	return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "Resource ARN was not found.")
}

func (s *Service) v2Tag(ctx context.Context, in *sesv2.TagResourceInput) (*sesv2.TagResourceOutput, error) {
	return &sesv2.TagResourceOutput{}, s.taggable(ctx, *in.ResourceArn, func(tags []sestina.Tag) ([]sestina.Tag, error) {
		added := fromV2Tags(in.Tags)
		if err := checkResourceTags(added); err != nil {
			return nil, err
		}
		for _, t := range added {
			if i := slices.IndexFunc(tags, func(o sestina.Tag) bool { return o.Name == t.Name }); i >= 0 {
				tags[i] = t
			} else {
				tags = append(tags, t)
			}
		}
		return tags, checkResourceTags(tags)
	})
}

func (s *Service) v2Untag(ctx context.Context, in *sesv2.UntagResourceInput) (*sesv2.UntagResourceOutput, error) {
	return &sesv2.UntagResourceOutput{}, s.taggable(ctx, *in.ResourceArn, func(tags []sestina.Tag) ([]sestina.Tag, error) {
		return slices.DeleteFunc(tags, func(t sestina.Tag) bool { return slices.Contains(in.TagKeys, t.Name) }), nil
	})
}

func (s *Service) v2ListTags(ctx context.Context, in *sesv2.ListTagsForResourceInput) (*sesv2.ListTagsForResourceOutput, error) {
	scope := scopeOf(ctx)
	a, _ := sestina.ParseARN(*in.ResourceArn) // a bad one names nothing below
	kind, name, _ := strings.Cut(a.Resource, "/")
	if a.Service == "ses" && a.Scope() == scope {
		switch kind {
		case "configuration-set":
			if set, err := s.Sets.Find(ctx, scope, name); err != nil {
				return nil, err
			} else if set != nil {
				return &sesv2.ListTagsForResourceOutput{Tags: toV2Tags(set.Tags)}, nil
			}
		case "identity":
			if id, err := s.Identities.Find(ctx, scope, name); err != nil {
				return nil, err
			} else if id != nil {
				return &sesv2.ListTagsForResourceOutput{Tags: toV2Tags(id.Tags)}, nil
			}
		}
		if p, ok := s.account(scope).Pools[name]; kind == "dedicated-ip-pool" && ok {
			return &sesv2.ListTagsForResourceOutput{Tags: toV2Tags(p.Tags)}, nil
		}
	}
	return nil, sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "Resource ARN was not found.")
}
