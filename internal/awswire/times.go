package awswire

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// errTime means that a text or number is no timestamp.
var errTime = errors.New("not a timestamp")

// maxEpoch is the last second of the year 9999, the largest that ISO 8601 with
// four digits can say. minEpoch is the first of the year 1.
const (
	maxEpoch = 253402300799
	minEpoch = -62135596800
)

// parseTime reads ISO 8601, an RFC 1123 date, or epoch seconds, in text form.
func parseTime(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z", "2006-01-02", time.RFC1123} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}, errTime
	}
	return epochTime(f)
}

// epochTime converts epoch seconds, to the millisecond.
func epochTime(f float64) (time.Time, error) {
	if math.IsNaN(f) || f > maxEpoch || f < minEpoch {
		return time.Time{}, errTime
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
}

// appendEpoch appends epoch seconds as a JSON number: whole, or with
// milliseconds.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', 3, 64)
}

// appendISO appends ISO 8601 in UTC, with milliseconds if there are any.
func appendISO(b []byte, t time.Time) []byte {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Nanosecond() == 0 {
		return t.AppendFormat(b, "2006-01-02T15:04:05Z")
	}
	return t.AppendFormat(b, "2006-01-02T15:04:05.000Z")
}
