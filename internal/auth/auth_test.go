package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testAccount = "123456789012"

// ring returns a keyring of the given keys, numbered from 1.
func ring(t testing.TB, keys ...string) *Keyring {
	t.Helper()
	var text strings.Builder
	for i, k := range keys {
		fmt.Fprintf(&text, "%d %s\n", i+1, base64.StdEncoding.EncodeToString([]byte(k)))
	}
	r, err := ParseKeyring([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	keyA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	keyB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestOpenKeyring(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rings := make([]*Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			var err error
			if rings[i], err = OpenKeyring(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	token := rings[0].Signer().Sign("test", []byte("hello"))
	for i, r := range rings {
		if _, err := r.Signer().Verify("test", token); err != nil {
			t.Errorf("ring %d, opened at the same time, has another key", i)
		}
	}
	st, err := os.Stat(filepath.Join(dir, KeyringFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o (%v), want 600", st.Mode().Perm(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %d files, want 1", len(entries))
	}
	if other, err := OpenKeyring(t.TempDir()); err != nil {
		t.Error(err)
	} else if _, err := other.Signer().Verify("test", token); err == nil {
		t.Error("two installations have the same key")
	}
}

func TestParseKeyringErrors(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString([]byte(keyA))
	for text, want := range map[string]string{
		"":                                     "holds no key",
		"# only a comment\n\n":                 "holds no key",
		"1 " + good + "\nx " + good:            "line 2 does not begin with a number",
		"256 " + good:                          "line 1 does not begin with a number",
		"1 c2hvcnQ=":                           "line 1 does not hold 32 bytes",
		"1 !":                                  "line 1 does not hold 32 bytes",
		"# c\n7 " + good + "\r\n\n7 " + good:   "line 4: key 7 is there twice",
		"1 " + good + " trailing words follow": "line 1 does not hold 32 bytes",
	} {
		if _, err := ParseKeyring([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, KeyringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyring(dir); err == nil || !strings.Contains(err.Error(), KeyringFile) {
		t.Errorf("an empty file: error %v, want one that names it", err)
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	r := ring(t, keyA)
	sealed := r.Seal("label", []byte("secret"))
	if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, r.Seal("label", []byte("secret"))) {
		t.Error("sealing hides nothing, or is the same every time")
	}
	if plain, err := r.Open("label", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if plain, err := ring(t, keyA, keyB).Open("label", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("with a newer key beside it: %q, %v", plain, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another label": func() ([]byte, error) { return r.Open("other", sealed) },
		"another key":   func() ([]byte, error) { return ring(t, keyB).Open("label", sealed) },
		"unknown key":   func() ([]byte, error) { return r.Open("label", ring(t, keyB, keyA).Seal("label", nil)) },
		"nothing":       func() ([]byte, error) { return r.Open("label", nil) },
	} {
		if _, err := open(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open("label", bad); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v, want ErrSealed", i, err)
		}
		if _, err := r.Open("label", sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Errorf("cut at %d: %v, want ErrSealed", i, err)
		}
	}
}

func TestSigner(t *testing.T) {
	t.Parallel()
	s := ring(t, keyA).Signer()
	for n := range 40 {
		payload := bytes.Repeat([]byte{0xfe}, n)
		token := s.Sign("open", payload)
		if want := (18 + n) * 8; len(token) != (want+5)/6 {
			t.Errorf("a payload of %d bytes has a token of %d characters", n, len(token))
		}
		got, err := s.Verify("open", token)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("verified %x, %v", got, err)
		}
	}
	token := s.Sign("open", []byte("payload"))
	if token[:2] != "AQ" || token != s.Sign("open", []byte("payload")) {
		t.Errorf("token %s", token)
	}
	if _, err := ring(t, keyA, keyB).Signer().Verify("open", token); err != nil {
		t.Errorf("after a new key was added: %v", err)
	}
	if ring(t, keyA, keyB).Signer().Sign("open", []byte("payload")) == token {
		t.Error("the new key is not used")
	}

	for name, bad := range map[string]string{
		"empty": "", "cut": token[:len(token)-1], "longer": token + "A", "padded": token + "=", "line end": token + "\n",
		"line end inside": token[:5] + "\r\n" + token[5:], "space": " " + token, "head only": token[:24], "not base64": "****",
		"another key": ring(t, keyB).Signer().Sign("open", []byte("payload")), "another purpose": s.Sign("click", []byte("payload")),
		"purpose moved": s.Sign("ope", []byte("npayload")), "unknown key": ring(t, keyB, keyA).Signer().Sign("open", nil),
	} {
		if _, err := s.Verify("open", bad); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v, want ErrToken", name, err)
		}
	}
	for i := range token {
		for _, c := range "AB_-9" {
			bad := token[:i] + string(c) + token[i+1:]
			if _, err := s.Verify("open", bad); (err == nil) != (bad == token) {
				t.Errorf("%s in place of %s: %v", bad, token, err)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := ring(f, keyA).Signer()
	f.Add("open", s.Sign("open", []byte("payload")))
	f.Add("", s.Sign("", nil))
	f.Add("open", "AQEA")
	f.Add("open", "AQ\nEA")
	f.Fuzz(func(t *testing.T, purpose, token string) {
		payload, err := s.Verify(purpose, token)
		if err != nil {
			if payload != nil || !errors.Is(err, ErrToken) {
				t.Fatalf("payload %q with error %v", payload, err)
			}
			return
		}
		// Whatever verifies is, letter for letter, what was signed.
		if again := s.Sign(purpose, payload); again != token {
			t.Fatalf("%q and %q both verify", token, again)
		}
	})
}

func FuzzParseKeyring(f *testing.F) {
	f.Add([]byte("1 " + base64.StdEncoding.EncodeToString([]byte(keyA)) + "\n"))
	f.Add([]byte("# x\n\n255 " + base64.StdEncoding.EncodeToString([]byte(keyB))))
	f.Add([]byte("1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseKeyring(text)
		if err != nil {
			return
		}
		if got, err := r.Open("l", r.Seal("l", []byte("x"))); err != nil || string(got) != "x" {
			t.Fatalf("a ring that cannot open what it sealed: %q, %v", got, err)
		}
	})
}

// ses-guide:smtp-credentials
func TestSMTPPassword(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ secret, region, want string }{
		{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"},
		{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "eu-west-1", "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"},
		{"sestina-secret-key-for-tests-0000000000", "us-west-2", "BLW0ZsyD2tqN8Ub8tWUGM6359q3whuHST8eaC9a6ACVN"},
	} {
		if got := SMTPPassword(v.secret, v.region); got != v.want {
			t.Errorf("%s in %s: %s, want %s", v.secret, v.region, got, v.want)
		}
	}
}

// A keeper is Keys on a store of its own.
type keeper struct {
	*Keys
	store *sqlite.Store
	dir   string
	ring  *Keyring
}

func open(t *testing.T, dir string, r *Keyring, load bool) *keeper {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	cache := store.NewCache(s)
	k := NewKeys(s, cache, r, new(clock.Clock))
	if load {
		if err := cache.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return &keeper{Keys: k, store: s, dir: dir, ring: r}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir(), ring(t, keyA), true)
	ctx := t.Context()
	user, secret, err := k.CreateKey(ctx, testAccount, "mailer")
	if err != nil {
		t.Fatal(err)
	}
	root, rootSecret, err := k.CreateKey(ctx, "000000000000", "root")
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != 40 || secret == rootSecret || len(user.ID) != 20 || !strings.HasPrefix(user.ID, "AKIA") || user.CreatedAt.IsZero() {
		t.Errorf("key %+v with secret %q", user, secret)
	}

	t.Run("Lookup", func(t *testing.T) {
		want := awswire.Key{Secret: secret, Account: testAccount, UserName: "mailer", PrincipalARN: "arn:aws:iam::123456789012:user/mailer"}
		if got, err := k.Lookup(ctx, user.ID); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		want = awswire.Key{Secret: rootSecret, Account: "000000000000", PrincipalARN: "arn:aws:iam::000000000000:root"}
		if got, err := k.Lookup(ctx, root.ID); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		for _, id := range []string{"", "AKIA", "AKIAIOSFODNN7EXAMPLE", strings.ToLower(user.ID), user.ID + "A", newKeyID(testAccount), "AKIA\n" + user.ID[5:], "ASIA" + user.ID[4:]} {
			if _, err := k.Lookup(ctx, id); !errors.Is(err, awswire.ErrUnknownKey) {
				t.Errorf("%q: %v, want ErrUnknownKey", id, err)
			}
		}
	})

	t.Run("List", func(t *testing.T) {
		if got := k.ListKeys(testAccount); len(got) != 1 || got[0] != user {
			t.Errorf("got %+v, want %+v", got, user)
		}
		if got := k.ListKeys("999999999999"); len(got) != 0 {
			t.Errorf("another account has %+v", got)
		}
	})

	t.Run("SecretIsNotStoredInTheClear", func(t *testing.T) {
		doc, err := k.store.Get(ctx, keyScope(testAccount), KindAccessKey, user.ID)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(doc.Data, []byte(secret)) || bytes.Contains(doc.Data, []byte(base64.StdEncoding.EncodeToString([]byte(secret)))) {
			t.Errorf("the document holds the secret: %s", doc.Data)
		}
	})

	t.Run("DisableAndDelete", func(t *testing.T) {
		if err := k.SetDisabled(ctx, user.ID, true); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Lookup(ctx, user.ID); !errors.Is(err, awswire.ErrUnknownKey) {
			t.Errorf("a disabled key: %v", err)
		}
		if got := k.ListKeys(testAccount); len(got) != 1 || !got[0].Disabled {
			t.Errorf("got %+v", got)
		}
		if err := k.SetDisabled(ctx, user.ID, false); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Lookup(ctx, user.ID); err != nil {
			t.Errorf("an enabled key: %v", err)
		}
		if err := k.DeleteKey(ctx, user.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Lookup(ctx, user.ID); !errors.Is(err, awswire.ErrUnknownKey) {
			t.Errorf("a deleted key: %v", err)
		}
		for _, id := range []string{user.ID, "no\r\nkey"} {
			for _, err := range []error{k.DeleteKey(ctx, id), k.SetDisabled(ctx, id, true)} {
				if sestina.CodeOf(err) != "NoSuchEntity" || strings.ContainsAny(err.Error(), "\r\n") {
					t.Errorf("%q: %v, want NoSuchEntity", id, err)
				}
			}
		}
	})

	t.Run("BadNames", func(t *testing.T) {
		for account, name := range map[string]string{"12345678901": "a", "12345678901x": "a", testAccount: "a b", "123456789013": strings.Repeat("a", 65)} {
			if _, _, err := k.CreateKey(ctx, account, name); sestina.CodeOf(err) != "ValidationError" {
				t.Errorf("account %q, user %q: %v", account, name, err)
			}
		}
	})
}

func TestKeysSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, dir, ring(t, keyA), true)
	key, secret, err := k.CreateKey(t.Context(), testAccount, "mailer")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.store.Close(); err != nil {
		t.Fatal(err)
	}

	// The first time with an empty cache, as on a node that has not heard of
	// the key yet.
	for _, load := range []bool{false, true} {
		k = open(t, dir, ring(t, keyA, keyB), load)
		if got, err := k.Lookup(t.Context(), key.ID); err != nil || got.Secret != secret {
			t.Errorf("cache loaded %v: %+v, %v", load, got, err)
		}
		if err := k.store.Close(); err != nil {
			t.Fatal(err)
		}
	}

	k = open(t, dir, ring(t, keyB), true)
	if _, err := k.Lookup(t.Context(), key.ID); !errors.Is(err, ErrSealed) || errors.Is(err, awswire.ErrUnknownKey) {
		t.Errorf("with another installation key: %v, want ErrSealed", err)
	}
}

func TestKeyID(t *testing.T) {
	t.Parallel()
	for _, account := range []string{"000000000000", "000000000001", testAccount, "999999999999"} {
		for range 50 {
			id := newKeyID(account)
			if got, ok := accountOfKey(id); !ok || got != account {
				t.Fatalf("%s is of account %s, want %s", id, got, account)
			}
		}
	}
	// The example that AWS's documentation gives for a key's account lies
	// outside: its fifth character says that it carries none.
	if account, ok := accountOfKey("AKIAIOSFODNN7EXAMPLE"); ok {
		t.Errorf("an old key carries account %s", account)
	}
}

func FuzzKeyID(f *testing.F) {
	f.Add("AKIAIOSFODNN7EXAMPLE")
	f.Add(newKeyID(testAccount))
	f.Add("AKIA7777777777777777")
	f.Fuzz(func(t *testing.T, id string) {
		if account, ok := accountOfKey(id); ok && (!validAccount(account) || len(id) != 20) {
			t.Fatalf("%q is of account %q", id, account)
		}
	})
}

func TestSMTPLogin(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir(), ring(t, keyA), true)
	ctx := t.Context()
	key, secret, err := k.CreateKey(ctx, testAccount, "mailer")
	if err != nil {
		t.Fatal(err)
	}
	login := SMTPLogin{Keys: k.Keys, Region: "eu-west-1"}
	good := SMTPPassword(secret, "eu-west-1")
	want := Principal{Account: testAccount, UserName: "mailer", AccessKeyID: key.ID}
	if got, err := login.AuthenticateSMTP(ctx, key.ID, good); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := want.ARN(); got != "arn:aws:iam::123456789012:user/mailer" {
		t.Errorf("ARN %s", got)
	}
	for name, c := range map[string][2]string{
		"another region":          {key.ID, SMTPPassword(secret, "us-east-1")},
		"the secret itself":       {key.ID, secret},
		"empty":                   {key.ID, ""},
		"cut":                     {key.ID, good[:43]},
		"unknown key":             {newKeyID(testAccount), good},
		"unknown key, its dummy":  {newKeyID(testAccount), SMTPPassword("", "eu-west-1")},
		"no key, and the dummy's": {"mailer", SMTPPassword("", "eu-west-1")},
	} {
		if _, err := login.AuthenticateSMTP(ctx, c[0], c[1]); !errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %v, want ErrCredentials", name, err)
		}
	}
	if err := k.SetDisabled(ctx, key.ID, true); err != nil {
		t.Fatal(err)
	}
	if _, err := login.AuthenticateSMTP(ctx, key.ID, good); !errors.Is(err, ErrCredentials) {
		t.Errorf("a disabled key: %v, want ErrCredentials", err)
	}
	if err := k.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := login.AuthenticateSMTP(ctx, newKeyID(testAccount), good); err == nil || errors.Is(err, ErrCredentials) {
		t.Errorf("without a store: %v, want an error that is not the user's fault", err)
	}
}

func TestAnyone(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"mailer": "mailer", "user@example.com": "user@example.com", "": "root", "a b\r\nc\"": "a_b__c_", "jürgen": "j_rgen",
		strings.Repeat("x", 100): strings.Repeat("x", 64),
	} {
		p, err := Anyone(testAccount).AuthenticateSMTP(context.Background(), user, "whatever")
		if err != nil || p.UserName != want || p.Account != testAccount {
			t.Errorf("%q became %+v, %v", user, p, err)
		}
	}
}
