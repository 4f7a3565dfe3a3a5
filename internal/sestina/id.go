package sestina

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"
)

// An ID is an internal id: time-ordered and unique across nodes, in the form of
// a version 7 UUID (48 bits of Unix milliseconds, 12 bits of a counter that
// keeps one node's ids of one millisecond in order, 62 random bits).
// rfc9562#5.7
type ID [16]byte

// IsZero reports whether id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the millisecond the id was made in, UTC.
func (id ID) Time() time.Time {
	var b [8]byte
	copy(b[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:]))).UTC()
}

// String returns the 36-character UUID form.
func (id ID) String() string { return formatUUID(id) }

// MarshalText implements encoding.TextMarshaler with the UUID form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Empty text is the zero ID.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// ParseID reads the UUID form.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("%q is not an id: want the 36-character UUID form", s)
	}
	if _, err := hex.Decode(id[:], []byte(strings.ReplaceAll(s, "-", ""))); err != nil {
		return ID{}, fmt.Errorf("%q is not an id: %w", s, err)
	}
	return id, nil
}

func formatUUID(b [16]byte) string {
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	out[8] = '-'
	hex.Encode(out[9:13], b[4:6])
	out[13] = '-'
	hex.Encode(out[14:18], b[6:8])
	out[18] = '-'
	hex.Encode(out[19:23], b[8:10])
	out[23] = '-'
	hex.Encode(out[24:36], b[10:16])
	return string(out[:])
}

// IDs makes internal ids. The zero value is ready; it may be used
// concurrently. Ids of one IDs are strictly increasing, also when the clock
// steps back.
type IDs struct {
	mu   sync.Mutex
	last uint64 // milliseconds<<12 | counter
}

// New returns an id for the time now.
func (g *IDs) New(now time.Time) ID {
	var id ID
	_, _ = rand.Read(id[8:]) // never fails, see crypto/rand
	next := uint64(now.UnixMilli()) << 12
	g.mu.Lock()
	if next <= g.last {
		next = g.last + 1
	}
	g.last = next
	g.mu.Unlock()
	ms, seq := next>>12, next&0xfff
	binary.BigEndian.PutUint16(id[0:2], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:6], uint32(ms))
	binary.BigEndian.PutUint16(id[6:8], 0x7000|uint16(seq))
	id[8] = id[8]&0x3f | 0x80
	return id
}

// FloorID returns the smallest id of the given time: ids made earlier are
// smaller. It bounds scans of tables ordered by id.
func FloorID(t time.Time) ID {
	var id ID
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint16(id[0:2], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:6], uint32(ms))
	return id
}

// DerivedUUID returns a version 4 shaped UUID that depends only on id and
// label: the id that the outside sees for something made from id, the same at
// every attempt. (SNS MessageId of a publication, EventBridge event id.)
func DerivedUUID(id ID, label string) string {
	h := fnv.New128a()
	_, _ = h.Write(id[:])
	_, _ = h.Write([]byte(label))
	var b [16]byte
	h.Sum(b[:0])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatUUID(b)
}

// regionMarks are the first four hex digits of SES message ids as seen in the
// regions that are known. Other regions get 0100.
var regionMarks = map[string]string{
	"us-east-1": "0100", "us-west-2": "0101", "eu-west-1": "0102", "ap-northeast-1": "0106",
	"eu-central-1": "0107", "ap-southeast-2": "0108", "ap-south-1": "0109", "us-east-2": "010f",
}

// MessageID returns the SES message id of the message or feedback with the
// internal id: 16 hex digits (region mark and Unix milliseconds), a UUID, six
// zeros; 60 characters. The internal id can be read back from it with
// ParseMessageID, so the store needs no second index.
func MessageID(id ID, region string) string {
	mark := regionMarks[region]
	if mark == "" {
		mark = "0100"
	}
	// The UUID carries the 12+62 bits that are not the time; the other 48 bits
	// of a version 4 UUID are a checksum of the whole id.
	h := fnv.New64a()
	_, _ = h.Write(id[:])
	sum := h.Sum64()
	var u [16]byte
	binary.BigEndian.PutUint32(u[0:4], uint32(sum>>16))
	binary.BigEndian.PutUint16(u[4:6], uint16(sum))
	u[6] = id[6]&0x0f | 0x40
	copy(u[7:], id[7:])
	return mark + hex.EncodeToString(id[:6]) + "-" + formatUUID(u) + "-000000"
}

// ParseMessageID returns the internal id inside an SES message id made by
// MessageID. It reports false for any other text.
func ParseMessageID(s string) (ID, bool) {
	var id ID
	if len(s) != 60 || s[16] != '-' || s[53:] != "-000000" {
		return ID{}, false
	}
	if _, err := hex.Decode(id[:6], []byte(s[4:16])); err != nil {
		return ID{}, false
	}
	u, err := ParseID(s[17:53])
	if err != nil {
		return ID{}, false
	}
	copy(id[6:], u[6:])
	id[6] = id[6]&0x0f | 0x70
	if MessageID(id, "")[4:] != s[4:] {
		return ID{}, false
	}
	return id, true
}
