package auth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// KindAccessKey is the kind of document that holds an access key. Its name is
// the access key id; its scope is the account without a region, for keys are
// valid in all of them.
const KindAccessKey = "access-key"

// Keys are the access keys of the installation. Its methods may be called
// concurrently.
type Keys struct {
	store store.Store
	docs  *store.Documents[keyDocument]
	ring  *Keyring
	clock *clock.Clock
}

// keyDocument is an access key as stored.
type keyDocument struct {
	Format    int    // 1
	UserName  string `json:",omitempty"`
	CreatedAt time.Time
	Disabled  bool   `json:",omitempty"`
	Sealed    []byte // the secret, under the label that sealLabel gives
}

const keyFormat = 1

// A Key is an access key without its secret.
type Key struct {
	ID        string
	Account   string
	UserName  string // "" for the account itself
	CreatedAt time.Time
	Disabled  bool
}

// NewKeys registers the kind with the cache, so it must be called before the
// cache is loaded.
func NewKeys(s store.Store, c *store.Cache, ring *Keyring, clk *clock.Clock) *Keys {
	return &Keys{store: s, docs: store.Register[keyDocument](c, KindAccessKey), ring: ring, clock: clk}
}

// CreateKey makes an access key for a user of an account and returns it with
// its secret, which is shown this once. An empty userName stands for the
// account itself. Users need not be created: a name is one.
func (k *Keys) CreateKey(ctx context.Context, account, userName string) (key Key, secret string, err error) {
	if userName == RootName {
		userName = ""
	}
	if userName != "" && !validUserName(userName) {
		return Key{}, "", sestina.Errorf("ValidationError",
			"The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	if !validAccount(account) {
		return Key{}, "", sestina.Errorf("ValidationError", "The account %q is invalid. It must be 12 digits.", account)
	}
	var raw [30]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	secret = base64.StdEncoding.EncodeToString(raw[:])
	for {
		id := newKeyID(account)
		doc := &keyDocument{
			Format: keyFormat, UserName: userName, CreatedAt: k.clock.Now(),
			Sealed: k.ring.Seal(sealLabel(account, id), []byte(secret)),
		}
		_, err = k.docs.Change(ctx, keyScope(account), id, func(_ store.Tx, cur *keyDocument) (*keyDocument, error) {
			if cur != nil {
				return nil, errTaken
			}
			return doc, nil
		})
		switch {
		case errors.Is(err, errTaken):
			continue
		case err != nil:
			return Key{}, "", fmt.Errorf("create access key of %s: %w", account, err)
		}
		return doc.key(account, id), secret, nil
	}
}

var errTaken = errors.New("access key id is taken")

// ListKeys returns the account's keys in order of id.
func (k *Keys) ListKeys(account string) []Key {
	ids, docs := k.docs.List(keyScope(account), "", 0)
	keys := make([]Key, len(ids))
	for i, id := range ids {
		keys[i] = docs[i].key(account, id)
	}
	return keys
}

// Check fails when the keyring does not open the secrets of the access keys that
// are stored: secret.key is another installation's, or another node's. Call it
// after the cache was loaded.
func (k *Keys) Check() (err error) {
	k.docs.All(func(scope sestina.Scope, id string, d *keyDocument) bool {
		if _, err = k.ring.Open(sealLabel(scope.Account, id), d.Sealed); err != nil {
			err = fmt.Errorf("secret.key in the data folder does not open access key %s: use the file of this installation (all nodes need the same one): %w", id, err)
		}
		return err == nil
	})
	return err
}

// SetDisabled disables a key or enables it again.
func (k *Keys) SetDisabled(ctx context.Context, id string, disabled bool) error {
	return k.change(ctx, "update", id, func(cur *keyDocument) *keyDocument {
		cur.Disabled = disabled
		return cur
	})
}

// DeleteKey deletes a key for good.
func (k *Keys) DeleteKey(ctx context.Context, id string) error {
	return k.change(ctx, "delete", id, func(*keyDocument) *keyDocument { return nil })
}

func (k *Keys) change(ctx context.Context, what, id string, fn func(*keyDocument) *keyDocument) error {
	account, ok := accountOfKey(id)
	if !ok {
		return noSuchKey(id)
	}
	_, err := k.docs.Change(ctx, keyScope(account), id, func(_ store.Tx, cur *keyDocument) (*keyDocument, error) {
		if cur == nil {
			return nil, noSuchKey(id)
		}
		return fn(cur), nil
	})
	var refusal *sestina.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("%s access key %s: %w", what, id, err)
}

func noSuchKey(id string) error {
	e := sestina.Errorf("NoSuchEntity", "The Access Key with id %s cannot be found.", printableID(id))
	e.Status = 404
	return e
}

// Lookup implements awswire.Credentials. A key that is not in the cache is
// looked for in the store, where another node may just have put it.
func (k *Keys) Lookup(ctx context.Context, accessKeyID string) (awswire.Key, error) {
	account, ok := accountOfKey(accessKeyID)
	if !ok {
		return awswire.Key{}, awswire.ErrUnknownKey
	}
	doc := k.docs.Get(keyScope(account), accessKeyID)
	if doc == nil {
		var err error
		if doc, err = k.read(ctx, account, accessKeyID); err != nil {
			return awswire.Key{}, err
		}
	}
	if doc.Disabled {
		return awswire.Key{}, awswire.ErrUnknownKey
	}
	secret, err := k.ring.Open(sealLabel(account, accessKeyID), doc.Sealed)
	if err != nil {
		return awswire.Key{}, fmt.Errorf("secret of access key %s: %w", accessKeyID, err)
	}
	return awswire.Key{
		Secret: string(secret), Account: account, UserName: doc.UserName,
		PrincipalARN: PrincipalARN(account, doc.UserName),
	}, nil
}

func (k *Keys) read(ctx context.Context, account, id string) (*keyDocument, error) {
	d, err := k.store.Get(ctx, keyScope(account), KindAccessKey, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, awswire.ErrUnknownKey
	}
	if err != nil {
		return nil, fmt.Errorf("read access key %s: %w", id, err)
	}
	doc := new(keyDocument)
	if err := json.Unmarshal(d.Data, doc); err != nil {
		return nil, fmt.Errorf("decode access key %s: %w", id, err)
	}
	return doc, nil
}

func (d *keyDocument) key(account, id string) Key {
	return Key{ID: id, Account: account, UserName: d.UserName, CreatedAt: d.CreatedAt, Disabled: d.Disabled}
}

func keyScope(account string) sestina.Scope { return sestina.Scope{Account: account} }

// sealLabel ties a sealed secret to its key: moved to another document it does
// not open.
func sealLabel(account, id string) string { return KindAccessKey + " " + account + " " + id }

// Access key ids have the form of AWS's: AKIA and 16 characters of base32, in
// which the account number stands from the second bit on, as
// `aws sts get-access-key-info` reads it. So a key id alone says in which scope
// its document is.
const keyPrefix = "AKIA"

func newKeyID(account string) string {
	n, _ := strconv.ParseUint(account, 10, 64)
	var b [10]byte
	_, _ = rand.Read(b[:])
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], (1<<47|n<<7|uint64(b[5]&0x7f))<<16)
	copy(b[:6], head[:6])
	return keyPrefix + base32.StdEncoding.EncodeToString(b[:])
}

// accountOfKey returns the account of an access key id made by newKeyID.
func accountOfKey(id string) (account string, ok bool) {
	code, ok := strings.CutPrefix(id, keyPrefix)
	if !ok || len(code) != 16 || strings.ContainsAny(code, "\r\n") {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(code)
	if err != nil || b[0]&0x80 == 0 {
		return "", false
	}
	n := binary.BigEndian.Uint64(b[:8]) >> 16 & (1<<47 - 1) >> 7
	account = fmt.Sprintf("%012d", n)
	return account, len(account) == 12
}

func validAccount(s string) bool {
	return len(s) == 12 && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// printableID cuts what a caller gave as a key id down to what can be one.
func printableID(id string) string {
	id = strings.Map(func(r rune) rune {
		if isUserNameRune(r) {
			return r
		}
		return '_'
	}, id)
	return id[:min(len(id), 128)]
}
