package awswire

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
)

// signingKeys caches derived SigV4 keys: deriving one takes four HMACs, and it
// changes once a day. It holds a bounded number; when full it is emptied.
type signingKeys struct {
	mu   sync.RWMutex
	keys map[signingScope]signingKey
}

// maxSigningKeys bounds the cache; an entry takes about 300 bytes.
const maxSigningKeys = 4096

type signingScope struct{ accessKeyID, date, region, service string }

type signingKey struct {
	secret string // what it was derived from: secrets can be replaced
	key    [sha256.Size]byte
}

// get returns the key for a scope, deriving it if need be. service may be any
// text; only scopes of existing access keys come here.
func (c *signingKeys) get(s signingScope, secret string) [sha256.Size]byte {
	c.mu.RLock()
	k, ok := c.keys[s]
	c.mu.RUnlock()
	if ok && subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) == 1 {
		return k.key
	}
	k = signingKey{secret: secret, key: deriveKey(secret, s)}
	c.mu.Lock()
	if c.keys == nil || len(c.keys) >= maxSigningKeys {
		c.keys = map[signingScope]signingKey{}
	}
	c.keys[s] = k
	c.mu.Unlock()
	return k.key
}

// deriveKey is the SigV4 key derivation: an HMAC chain over date, region,
// service and the constant aws4_request.
func deriveKey(secret string, s signingScope) [sha256.Size]byte {
	k := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request"} {
		k = hmacSHA256(k, part)
	}
	return [sha256.Size]byte(k)
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text)) // never fails
	return h.Sum(nil)
}
