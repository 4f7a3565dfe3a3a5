package deliver

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// payloadFormat is the newest Payload this program writes and reads.
const payloadFormat = 1

// A Payload is what a delivery unit carries besides its message: who is left
// to be served, and what was last said about each of them.
type Payload struct {
	V          int      `json:"v"` // format, 1
	Recipients []string `json:"rcpt"`
	// Last has the last failed attempt's outcome of recipients, for the bounce
	// that ends the unit when time runs out.
	Last []bounce.Outcome `json:"last,omitempty"`
}

// Encode returns the stored form.
func (p Payload) Encode() []byte {
	p.V = payloadFormat
	b, err := json.Marshal(p)
	if err != nil {
		panic("encode delivery payload: " + err.Error()) // strings and integers only
	}
	return b
}

// DecodePayload reads the stored form. It refuses a format newer than it knows.
func DecodePayload(data []byte) (Payload, error) {
	var p Payload
	if err := json.Unmarshal(data, &p); err != nil {
		return Payload{}, fmt.Errorf("decode delivery payload: %w", err)
	}
	if p.V != payloadFormat {
		return Payload{}, fmt.Errorf("decode delivery payload: format %d, this program knows %d", p.V, payloadFormat)
	}
	return p, nil
}

// Lane returns the lane of deliveries: account/region/pool/configuration
// set/domain. Pool and set may be empty; domain is a lower-case ASCII domain.
func Lane(s sestina.Scope, pool, set, domain string) string {
	return s.Account + "/" + s.Region + "/" + pool + "/" + set + "/" + domain
}

// LaneDomain returns the domain of a lane made by Lane, or "".
func LaneDomain(lane string) string {
	parts := strings.SplitN(lane, "/", 5)
	if len(parts) < 5 {
		return ""
	}
	return parts[4]
}

// A Group is the recipients of one domain, in the order given.
type Group struct {
	Domain     string // lower case
	Recipients []string
}

// Split groups bare addresses (local@domain, the domain in ASCII) by domain,
// domains in the order of their first address. Addresses keep their spelling.
func Split(recipients []string) []Group {
	var out []Group
	at := make(map[string]int, 1)
	for _, r := range recipients {
		d := domainOf(r)
		i, ok := at[d]
		if !ok {
			i = len(out)
			at[d] = i
			out = append(out, Group{Domain: d})
		}
		out[i].Recipients = append(out[i].Recipients, r)
	}
	return out
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// NewUnit returns the waiting unit that delivers m to the recipients of one
// domain, due at once. pool is the sending pool of the configuration set, or
// "".
func NewUnit(ids *sestina.IDs, m *store.Message, pool, domain string, recipients []string, now time.Time) store.Unit {
	return store.Unit{
		ID: ids.New(now), Scope: m.Scope, Kind: store.KindDelivery,
		Lane: Lane(m.Scope, pool, m.ConfigurationSet, domain), Due: now,
		MessageID: m.ID, Payload: Payload{Recipients: recipients}.Encode(),
	}
}

// NewUnits returns one unit per recipient domain, made by NewUnit. The unit
// with the smallest id of a message speaks for the whole of it when it has to
// be rejected, so all units of a message must be made by one IDs and committed
// together with the message.
func NewUnits(ids *sestina.IDs, m *store.Message, pool string, recipients []string, now time.Time) []store.Unit {
	var out []store.Unit
	for _, g := range Split(recipients) {
		out = append(out, NewUnit(ids, m, pool, g.Domain, g.Recipients, now))
	}
	return out
}
