package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// Tokens live for months, in mail that was sent and in DNS names of others, so
// each begins with a version and the number of the key that signed it.
const (
	tokenVersion = 1
	tokenHead    = 2  // version, key number
	tokenMAC     = 16 // bytes of the HMAC that are kept
)

// ErrToken is returned for a token that this installation did not sign for the
// purpose.
var ErrToken = errors.New("the token is not valid")

// A Signer makes and checks tokens: a payload that anybody can read but only
// this installation can have written. It may be used concurrently.
type Signer struct{ ring *Keyring }

// Signer returns the ring's signer.
func (r *Keyring) Signer() *Signer { return &Signer{ring: r} }

// Sign returns a token of letters, digits, - and _ (base64url, case matters)
// that holds the payload: 24 characters plus 4 for every 3 bytes of payload. A
// token for one purpose is not valid for another.
func (s *Signer) Sign(purpose string, payload []byte) string {
	b := make([]byte, tokenHead, tokenHead+len(payload)+tokenMAC)
	b[0], b[1] = tokenVersion, s.ring.current
	b = append(b, payload...)
	b = append(b, s.mac(b[1], purpose, b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Verify returns the payload of a token made by Sign with the purpose. ErrToken.
// Every payload has exactly one valid token per key.
func (s *Signer) Verify(purpose, token string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < tokenHead+tokenMAC || b[0] != tokenVersion || s.ring.sign[b[1]] == nil {
		return nil, ErrToken
	}
	// The decoder skips line ends.
	if base64.RawURLEncoding.EncodedLen(len(b)) != len(token) {
		return nil, ErrToken
	}
	signed, mac := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	if !hmac.Equal(mac, s.mac(b[1], purpose, signed)) {
		return nil, ErrToken
	}
	return signed[tokenHead:], nil
}

// mac covers the purpose with its length in front, so that no other pair of
// purpose and payload gives the same bytes.
func (s *Signer) mac(key byte, purpose string, signed []byte) []byte {
	h := hmac.New(sha256.New, s.ring.sign[key])
	n := len(purpose)
	h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	h.Write([]byte(purpose))
	h.Write(signed)
	return h.Sum(nil)[:tokenMAC]
}
