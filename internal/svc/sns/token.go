package sns

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A confirmation token names an endpoint's subscription to a topic and proves,
// by an HMAC with a key of the installation, that this service made it. Nothing
// is stored. Layout, before hex:
//
//	version 1 | key number 1 | expiry, Unix seconds 8 | topic id 16 |
//	endpoint hash 16 | random 24 | HMAC-SHA-512 64
const (
	tokenVersion = 0x23
	tokenPayload = 1 + 1 + 8 + 16 + endpointHash + 24
	tokenSize    = tokenPayload + sha512.Size
)

// A tokenKey is a key for tokens, a document of the installation.
type tokenKey struct {
	Format int `json:"v"`
	Secret []byte
}

// tokenKeys are the keys for tokens. It may be used concurrently.
type tokenKeys struct {
	store store.Store
	docs  *store.Documents[tokenKey]
}

// currentTokenKey is the number of the key that new tokens are made with.
const currentTokenKey = 1

// current returns the key that new tokens are made with; the first caller of a
// new installation makes it.
func (t *tokenKeys) current(ctx context.Context) (*tokenKey, error) {
	name := strconv.Itoa(currentTokenKey)
	if k := t.docs.Get(sestina.Scope{}, name); k != nil {
		return k, nil
	}
	fresh := &tokenKey{Format: format, Secret: make([]byte, 64)}
	_, _ = rand.Read(fresh.Secret) // never fails
	k, err := t.docs.Change(ctx, sestina.Scope{}, name, func(_ store.Tx, cur *tokenKey) (*tokenKey, error) {
		if cur != nil {
			return cur, nil
		}
		return fresh, nil
	})
	if err != nil {
		return nil, fmt.Errorf("store the key for confirmation tokens: %w", err)
	}
	return k, nil
}

// make returns a token for the subscription of an endpoint to a topic.
func (t *tokenKeys) make(ctx context.Context, topic sestina.ID, endpoint [endpointHash]byte, expires time.Time) (string, error) {
	k, err := t.current(ctx)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, tokenSize)
	b = append(b, tokenVersion, currentTokenKey)
	b = binary.BigEndian.AppendUint64(b, uint64(expires.Unix()))
	b = append(b, topic[:]...)
	b = append(b, endpoint[:]...)
	b = append(b, make([]byte, 24)...)
	_, _ = rand.Read(b[tokenPayload-24:])
	return hex.EncodeToString(append(b, k.mac(b)...)), nil
}

func (k *tokenKey) mac(b []byte) []byte {
	h := hmac.New(sha512.New, k.Secret)
	h.Write(b)
	return h.Sum(nil)
}

var (
	errMalformedToken = errors.New("malformed token")
	errUnknownToken   = errors.New("unknown token")
)

// read returns the name of the subscription's document that a token is for.
func (t *tokenKeys) read(token string, now time.Time) (name string, err error) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != tokenSize || b[0] != tokenVersion {
		return "", errMalformedToken
	}
	k := t.docs.Get(sestina.Scope{}, strconv.Itoa(int(b[1])))
	if k == nil || !hmac.Equal(k.mac(b[:tokenPayload]), b[tokenPayload:]) {
		return "", errUnknownToken
	}
	r := bytes.NewBuffer(b[2:tokenPayload])
	if now.Unix() >= int64(binary.BigEndian.Uint64(r.Next(8))) {
		return "", errUnknownToken
	}
	var topic sestina.ID
	copy(topic[:], r.Next(16))
	var endpoint [endpointHash]byte
	copy(endpoint[:], r.Next(endpointHash))
	return subscriptionName(topic, endpoint), nil
}
