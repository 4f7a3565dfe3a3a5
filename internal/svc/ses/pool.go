package ses

import (
	"context"
	"maps"
	"slices"

	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// Dedicated IP pools are names that configuration sets refer to; they are part
// of the account's document. Sestina has no addresses to put into them: what a
// pool sends with is a matter of delivery.

// The pools that exist without being created. ses-guide:dedicated-ip-pools
const (
	defaultPool = "ses-default-dedicated-pool"
	sharedPool  = "ses-shared-pool"
)

// The ways a pool can be scaled. ses-model:ScalingMode
const (
	standardScaling = "STANDARD"
	managedScaling  = "MANAGED"
)

func (s *Service) poolExists(scope sestina.Scope, name string) bool {
	_, ok := s.account(scope).Pools[name]
	return ok || name == defaultPool || name == sharedPool
}

func noPool(name string) error {
	return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "The requested pool <%s> does not exist.", name)
}

func checkScaling(mode string) error {
	if mode != standardScaling && mode != managedScaling {
		return invalid("The ScalingMode parameter is invalid.")
	}
	return nil
}

// changePool changes an existing pool of the account; fn returns nil to delete
// it.
func (s *Service) changePool(ctx context.Context, name string, fn func(sestina.DedicatedIPPool) (*sestina.DedicatedIPPool, error)) error {
	return s.changeAccount(ctx, scopeOf(ctx), func(a *sestina.Account) error {
		p, ok := a.Pools[name]
		if !ok {
			return noPool(name)
		}
		changed, err := fn(p)
		switch {
		case err != nil:
			return err
		case changed == nil:
			delete(a.Pools, name)
		default:
			a.Pools[name] = *changed
		}
		return nil
	})
}

func (s *Service) v2CreatePool(ctx context.Context, in *sesv2.CreateDedicatedIpPoolInput) (*sesv2.CreateDedicatedIpPoolOutput, error) {
	name, pool := *in.PoolName, sestina.DedicatedIPPool{ScalingMode: standardScaling, Tags: fromV2Tags(in.Tags)}
	if in.ScalingMode != nil {
		pool.ScalingMode = *in.ScalingMode
	}
	if err := checkScaling(pool.ScalingMode); err != nil {
		return nil, err
	}
	if len(name) > sestina.MaxNameLength || !validName(name) {
		return nil, invalid("Invalid pool name <%s>: 1 to 64 alphanumeric ASCII characters, '_' and '-'.", name)
	}
	if err := checkResourceTags(pool.Tags); err != nil {
		return nil, err
	}
	return &sesv2.CreateDedicatedIpPoolOutput{}, s.changeAccount(ctx, scopeOf(ctx), func(a *sestina.Account) error {
		if _, ok := a.Pools[name]; ok || name == defaultPool || name == sharedPool {
			return sestina.SESErrorf("AlreadyExists", "AlreadyExistsException", "The pool <%s> already exists.", name)
		}
		if len(a.Pools) >= sestina.MaxDedicatedIPPools {
			return sestina.SESErrorf("LimitExceeded", "LimitExceededException", "A maximum of %d dedicated IP pools is allowed.", sestina.MaxDedicatedIPPools)
		}
		if a.Pools == nil {
			a.Pools = map[string]sestina.DedicatedIPPool{}
		}
		a.Pools[name] = pool
		return nil
	})
}

func (s *Service) v2GetPool(ctx context.Context, in *sesv2.GetDedicatedIpPoolInput) (*sesv2.GetDedicatedIpPoolOutput, error) {
	p, ok := s.account(scopeOf(ctx)).Pools[*in.PoolName]
	if !ok {
		return nil, noPool(*in.PoolName)
	}
	return &sesv2.GetDedicatedIpPoolOutput{DedicatedIpPool: &sesv2.DedicatedIpPool{PoolName: in.PoolName, ScalingMode: new(p.ScalingMode)}}, nil
}

func (s *Service) v2ListPools(ctx context.Context, in *sesv2.ListDedicatedIpPoolsInput) (*sesv2.ListDedicatedIpPoolsOutput, error) {
	after, err := pageStart(in.NextToken)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(s.account(scopeOf(ctx)).Pools))
	i, found := slices.BinarySearch(names, after)
	if found {
		i++
	}
	out := &sesv2.ListDedicatedIpPoolsOutput{DedicatedIpPools: append([]string{}, names[i:]...)}
	if size := pageSize(in.PageSize, 100, 100); len(out.DedicatedIpPools) > size {
		out.DedicatedIpPools = out.DedicatedIpPools[:size]
		out.NextToken = pageToken(out.DedicatedIpPools[size-1])
	}
	return out, nil
}

func (s *Service) v2DeletePool(ctx context.Context, in *sesv2.DeleteDedicatedIpPoolInput) (*sesv2.DeleteDedicatedIpPoolOutput, error) {
	return &sesv2.DeleteDedicatedIpPoolOutput{}, s.changePool(ctx, *in.PoolName, func(sestina.DedicatedIPPool) (*sestina.DedicatedIPPool, error) {
		return nil, nil
	})
}

// v2PutPoolScaling turns a standard pool into a managed one; there is no way
// back. ses-guide:managed-dedicated-sending
func (s *Service) v2PutPoolScaling(ctx context.Context, in *sesv2.PutDedicatedIpPoolScalingAttributesInput) (*sesv2.PutDedicatedIpPoolScalingAttributesOutput, error) {
	if err := checkScaling(*in.ScalingMode); err != nil {
		return nil, err
	}
	return &sesv2.PutDedicatedIpPoolScalingAttributesOutput{}, s.changePool(ctx, *in.PoolName, func(p sestina.DedicatedIPPool) (*sestina.DedicatedIPPool, error) {
		if p.ScalingMode == managedScaling && *in.ScalingMode == standardScaling {
			return nil, invalid("The pool <%s> is managed and cannot be made a standard pool.", *in.PoolName)
		}
		p.ScalingMode = *in.ScalingMode
		return &p, nil
	})
}

// v2GetDedicatedIPs lists no addresses: pools have none here.
func (s *Service) v2GetDedicatedIPs(ctx context.Context, in *sesv2.GetDedicatedIpsInput) (*sesv2.GetDedicatedIpsOutput, error) {
	if name := str(in.PoolName); name != "" && !s.poolExists(scopeOf(ctx), name) {
		return nil, noPool(name)
	}
	return &sesv2.GetDedicatedIpsOutput{DedicatedIps: []sesv2.DedicatedIp{}}, nil
}
