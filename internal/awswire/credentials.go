package awswire

import (
	"context"
	"errors"
	"time"
)

// ErrUnknownKey is what Credentials return for an access key they do not know.
var ErrUnknownKey = errors.New("unknown access key")

// A Key is what is known about an access key.
type Key struct {
	Secret string
	// SessionToken must accompany every request of a temporary key. Empty
	// means a long-term key, whose requests must carry no token.
	SessionToken string
	// Expires is when a temporary key ends; zero means never.
	Expires time.Time
	// Account is the 12-digit account the key belongs to; empty means the
	// configured one.
	Account      string
	PrincipalARN string
	UserName     string
}

// Credentials find access keys. Lookup is called for every request,
// concurrently, and should be fast; it returns ErrUnknownKey for a key that
// does not exist or was disabled, and any other error when it cannot tell.
type Credentials interface {
	Lookup(ctx context.Context, accessKeyID string) (Key, error)
}
