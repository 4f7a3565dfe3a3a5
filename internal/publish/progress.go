package publish

import (
	"encoding/json"
	"fmt"
	"time"
)

// progressFormat is the newest format this program writes and reads.
const progressFormat = 1

// progress is what a publication's unit carries in its Payload. Most carry
// nothing, which is the zero progress.
type progress struct {
	V int `json:"v"`
	// Ended says that the unit was a dead letter. When it is claimed again it
	// was redriven, and its horizon begins anew.
	Ended bool `json:"ended,omitempty"`
	// Start is when the horizon began; zero: when the unit was made.
	Start time.Time `json:"start,omitzero"`
	// More is what the destination wants to know to go on, see Outcome.
	More []byte `json:"more,omitempty"`
}

func (p progress) encode() []byte {
	p.V = progressFormat
	b, err := json.Marshal(p)
	if err != nil {
		panic("encode progress of a publication: " + err.Error()) // a year beyond 9999
	}
	return b
}

func decodeProgress(payload []byte) (progress, error) {
	var p progress
	if payload == nil {
		return p, nil
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return progress{}, fmt.Errorf("decode progress of a publication: %w", err)
	}
	if p.V != progressFormat {
		return progress{}, fmt.Errorf("decode progress of a publication: format %d, this program knows %d", p.V, progressFormat)
	}
	return p, nil
}
