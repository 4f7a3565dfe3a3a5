package auth

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// KeyringFile is the name of the installation key inside the data folder.
const KeyringFile = "secret.key"

const keyringHead = `# Sestina's installation key. It opens the stored access keys and signs tracking,
# unsubscribe and return-path tokens. Keep it secret, back it up together with the
# database, and give every node of an installation the same file.
# One key per line, number and 32 bytes in base64; the last one is used for what is
# new, the others are still honoured.
`

// A Keyring is the installation key, or several of which the newest is used
// for what is new. It may be used concurrently.
type Keyring struct {
	current byte
	seal    map[byte]cipher.AEAD
	sign    map[byte][]byte
}

// OpenKeyring reads the installation key in dir. When there is none it makes
// one, readable by its owner only, and returns after it is on disk.
func OpenKeyring(dir string) (*Keyring, error) {
	path := filepath.Join(dir, KeyringFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = createKeyring(dir, path); err != nil {
			return nil, fmt.Errorf("create installation key: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read installation key: %w", err)
	}
	r, err := ParseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("installation key %s: %w", path, err)
	}
	return r, nil
}

// createKeyring writes a new file. Of two programs that start at once, both
// end up with the file of one: it appears under its name complete or not at
// all, and never replaces another.
func createKeyring(dir, path string) error {
	var key [32]byte
	_, _ = rand.Read(key[:])                       // never fails, see crypto/rand
	f, err := os.CreateTemp(dir, KeyringFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintf(f, "%s1 %s\n", keyringHead, base64.StdEncoding.EncodeToString(key[:]))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ParseKeyring reads the text of an installation key file.
func ParseKeyring(text []byte) (*Keyring, error) {
	r := &Keyring{seal: map[byte]cipher.AEAD{}, sign: map[byte][]byte{}}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		l := strings.TrimSpace(string(line))
		if l == "" || l[0] == '#' {
			continue
		}
		number, encoded, _ := strings.Cut(l, " ")
		id, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("line %d does not begin with a number from 0 to 255", n)
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("line %d does not hold 32 bytes in base64", n)
		}
		if err := r.add(byte(id), key); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(r.sign) == 0 {
		return nil, errors.New("the file holds no key")
	}
	return r, nil
}

func (r *Keyring) add(id byte, key []byte) error {
	if r.sign[id] != nil {
		return fmt.Errorf("key %d is there twice", id)
	}
	sealKey, err := hkdf.Key(sha256.New, key, nil, "sestina: seal", 32)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return err
	}
	if r.seal[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	if r.sign[id], err = hkdf.Key(sha256.New, key, nil, "sestina: sign", 32); err != nil {
		return err
	}
	r.current = id
	return nil
}

// sealVersion begins what Seal returns; the key's number follows.
const sealVersion = 1

// ErrSealed is returned by Open for what it cannot open.
var ErrSealed = errors.New("sealed with another installation key, or damaged")

// Seal encrypts and authenticates plain. label says what it is and must be
// given again to open it.
func (r *Keyring) Seal(label string, plain []byte) []byte {
	head := []byte{sealVersion, r.current}
	return r.seal[r.current].Seal(head, nil, plain, []byte(label))
}

// Open returns what was sealed under the label. ErrSealed.
func (r *Keyring) Open(label string, sealed []byte) ([]byte, error) {
	if len(sealed) < 2 || sealed[0] != sealVersion || r.seal[sealed[1]] == nil {
		return nil, ErrSealed
	}
	plain, err := r.seal[sealed[1]].Open(nil, nil, sealed[2:], []byte(label))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
