package sns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// confirmation returns the effects that send an endpoint a message of the given
// type about its subscription, with a fresh token. Messages to the queue of
// another account are rows of that queue; all others are units of work in the
// subscription's lane.
func (s *Service) confirmation(ctx context.Context, t *Topic, sub *Subscription, kind string) (store.Effects, error) {
	now := s.Clock.Now()
	token, err := s.tokens.make(ctx, t.ID, hashEndpoint(sub.Protocol, sub.Endpoint), now.Add(s.TokenLifetime))
	if err != nil {
		return store.Effects{}, err
	}
	id := s.IDs.New(now)
	arn := topicARN(sub.scope, t.Name)
	m := &message{
		Type: kind, TopicARN: arn, MessageID: sestina.DerivedUUID(id, "sns"), At: now, Token: token,
		SignatureVersion: t.signatureVersion(),
		Message: "You have chosen to subscribe to the topic " + arn +
			".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
	}
	if kind == typeUnsubscribed {
		m.Message = "You have chosen to deactivate subscription " + sub.ARN() +
			".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
	}
	if sub.Protocol == protocolSQS {
		return s.confirmToQueue(ctx, m, sub, now)
	}
	return store.Effects{
		Envelopes: []store.Envelope{s.envelope(sub.scope, id, m)},
		Units: []store.Unit{{
			ID: s.IDs.New(now), Scope: sub.scope, Kind: store.KindNotification, Due: now, Envelope: id,
			Payload: payload{Purpose: purposeConfirm}.encode(),
		}},
	}, nil
}

func (s *Service) confirmToQueue(ctx context.Context, m *message, sub *Subscription, now time.Time) (store.Effects, error) {
	if s.Queues == nil {
		return store.Effects{}, invalid("SQS endpoint ARN")
	}
	fs, err := s.fields(ctx, m, sub)
	if err != nil {
		return store.Effects{}, err
	}
	q, err := s.Queues.QueueMessage(sub.Endpoint, compactJSON(fs), nil, m.MessageID, m.MessageID, now)
	if err != nil {
		return store.Effects{}, invalid("SQS endpoint ARN")
	}
	return store.Effects{Queued: []store.QueueMessage{q}}, nil
}

// addressed returns effects with their units in the lane of sub.
func (s *Service) addressed(e store.Effects, sub *Subscription) store.Effects {
	units := make([]store.Unit, len(e.Units))
	for i, u := range e.Units {
		u.Lane, u.Target = sub.ID.String(), sub.ID
		units[i] = u
	}
	e.Units = units
	return e
}

// confirm confirms the subscription that a token was made for, and restores one
// that was unsubscribed. Repeating it is no fault while the token is valid.
// authenticated says that the call was signed, by the owner, and asks for
// unsubscribing to be signed too.
func (s *Service) confirm(ctx context.Context, scope sestina.Scope, token string, authenticated bool) (*Subscription, error) {
	name, err := s.tokens.read(token, s.Clock.Now())
	switch err {
	case nil:
	case errMalformedToken:
		return nil, sestina.Errorf("InvalidParameter", "Invalid token")
	default:
		return nil, invalid("Token")
	}
	var sub *Subscription
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		return change(tx, scope, kindSubscription, name, func(cur *Subscription) (*Subscription, error) {
			if cur == nil {
				return nil, invalid("Token")
			}
			sub = cur
			cur.State, cur.Until = confirmed, time.Time{}
			if authenticated {
				cur.Authenticated, cur.SignedUnsubscribe = true, true
			}
			return cur, nil
		})
	})
	if err != nil {
		return nil, err
	}
	s.wake(sub.ID)
	return sub, nil
}

// topicScope returns the scope that an ARN in a confirmation names: the topic's
// name is not looked at, because the token says which topic it is.
func topicScope(caller sestina.Scope, signed bool, arn string) (sestina.Scope, error) {
	parts := strings.Split(arn, ":")
	if len(parts) < 6 || parts[0] != "arn" || parts[2] != "sns" || parts[3] == "" || parts[4] == "" {
		return sestina.Scope{}, invalid("Topic")
	}
	scope := sestina.Scope{Account: parts[4], Region: parts[3]}
	if signed && scope.Region != caller.Region {
		return sestina.Scope{}, invalid("Topic")
	}
	return scope, nil
}

// unsubscribe ends a subscription. A missing one is no fault. signed says that
// the topic's owner asks; otherwise the endpoint is told, with a link that
// restores the subscription.
func (s *Service) unsubscribe(ctx context.Context, scope sestina.Scope, id sestina.ID, signed bool) error {
	sub, err := s.subs.lookup(ctx, scope, id)
	if err != nil || sub == nil || sub.State == deleted {
		return err
	}
	if sub.SignedUnsubscribe && !signed {
		return sestina.Errorf("AuthorizationError", "Not authorized: this subscription can only be removed by a signed request of its owner")
	}
	var farewell store.Effects
	if t := s.topics.Get(scope, sub.TopicName); !signed && t != nil && sub.State == confirmed && (sub.isHTTP() || sub.Protocol == protocolEmailJSON) {
		if farewell, err = s.confirmation(ctx, t, sub, typeUnsubscribed); err != nil {
			return err
		}
	}
	until := s.Clock.Now().Add(s.TokenLifetime)
	err = s.changeSub(ctx, sub, func(tx store.Tx, cur *Subscription) error {
		cur.State, cur.Until = deleted, until
		return tx.Apply(s.addressed(farewell, cur))
	})
	if err == errNoSubscription { // meanwhile, by somebody else
		return nil
	}
	if err == nil {
		s.wake(sub.ID) // what waits becomes dead letters
	}
	return err
}

// Sweep deletes pending subscriptions that nobody confirmed, deleted ones that
// cannot be restored any more, subscriptions whose topic is gone, and what FIFO
// topics need not remember.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.Clock.Now()
	over := func(sub *Subscription) bool {
		if t := s.topics.Get(sub.scope, sub.TopicName); t == nil || t.ID != sub.TopicID {
			return true
		}
		return sub.State != confirmed && !now.Before(sub.Until)
	}
	for _, sub := range s.subs.all(over) {
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			return change(tx, sub.scope, kindSubscription, sub.documentName(), func(cur *Subscription) (*Subscription, error) {
				if cur == nil || cur.ID != sub.ID || cur.State != sub.State || now.Before(cur.Until) {
					return cur, nil // changed meanwhile
				}
				return nil, nil
			})
		})
		if err != nil {
			return fmt.Errorf("forget subscription %s: %w", sub.ID, err)
		}
	}
	return s.sweepDedup(ctx, now)
}

// Describe names a subscription for the timeline: its protocol and endpoint
// without a password, or "" when there is none with the id.
func (s *Service) Describe(id sestina.ID) string {
	sub := s.subs.get(id)
	if sub == nil {
		return ""
	}
	return sub.Protocol + " " + maskEndpoint(sub)
}
