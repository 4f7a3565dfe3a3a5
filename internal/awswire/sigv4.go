package awswire

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi"
)

const (
	algorithm   = "AWS4-HMAC-SHA256"
	amzDateForm = "20060102T150405Z"
	// maxExpires is the longest life of a presigned URL, in seconds.
	maxExpires = 604800
)

// oldSignature is what is wrong with the signatures of very old clients.
const oldSignature = "Signature versions before 4 are not supported."

// A signature is what a request says about its SigV4 signature, from the
// Authorization header or the query string of a presigned URL.
type signature struct {
	presigned   bool
	accessKeyID string
	date        string // yyyymmdd, of the credential scope
	region      string
	service     string
	signed      string // SignedHeaders as sent
	value       string // hex
	token       string // session token
	timestamp   string // X-Amz-Date or Date as sent
	expires     string // presigned: seconds
}

// parseSignature returns the request's signature, nil if there is none, or what
// is wrong with it. strict wants all parts; otherwise the credential scope is
// enough.
func parseSignature(r *http.Request, strict bool) (*signature, string) {
	if h := r.Header.Get("Authorization"); h != "" {
		return parseAuthorization(r, h, strict)
	}
	if !strings.Contains(r.URL.RawQuery, "X-Amz-") && !strings.Contains(r.URL.RawQuery, "AWSAccessKeyId") {
		return nil, ""
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "The query string is not valid URL encoding."
	}
	switch {
	case q.Has("X-Amz-Algorithm") || q.Has("X-Amz-Credential"):
		return parsePresigned(q, strict)
	case q.Has("AWSAccessKeyId") && q.Has("Signature"):
		return nil, oldSignature
	}
	return nil, ""
}

func parseAuthorization(r *http.Request, h string, strict bool) (*signature, string) {
	name, rest, _ := strings.Cut(h, " ")
	if name != algorithm {
		return nil, "Unsupported AWS 'algorithm': '" + printable(name) + "'."
	}
	s := &signature{token: r.Header.Get("X-Amz-Security-Token"), timestamp: r.Header.Get("X-Amz-Date")}
	if s.timestamp == "" {
		s.timestamp = r.Header.Get("Date")
	}
	credential := ""
	for part := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, "'" + printable(part) + "' not a valid key=value pair (missing equal-sign) in Authorization header."
		}
		switch k {
		case "Credential":
			credential = v
		case "SignedHeaders":
			s.signed = v
		case "Signature":
			s.value = v
		}
	}
	var missing []string
	if credential == "" {
		missing = append(missing, "Authorization header requires 'Credential' parameter.")
	}
	if strict {
		if s.value == "" {
			missing = append(missing, "Authorization header requires 'Signature' parameter.")
		}
		if s.signed == "" {
			missing = append(missing, "Authorization header requires 'SignedHeaders' parameter.")
		}
		if s.timestamp == "" {
			missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
		}
	}
	if len(missing) > 0 {
		return nil, strings.Join(missing, " ")
	}
	return s, s.scope(credential)
}

func parsePresigned(q url.Values, strict bool) (*signature, string) {
	if a := q.Get("X-Amz-Algorithm"); a != algorithm {
		return nil, "Unsupported AWS 'algorithm': '" + printable(a) + "'."
	}
	s := &signature{
		presigned: true, signed: q.Get("X-Amz-SignedHeaders"), value: q.Get("X-Amz-Signature"),
		token: q.Get("X-Amz-Security-Token"), timestamp: q.Get("X-Amz-Date"), expires: q.Get("X-Amz-Expires"),
	}
	need := []string{"X-Amz-Credential"}
	if strict {
		need = append(need, "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
	}
	var missing []string
	for _, n := range need {
		if q.Get(n) == "" {
			missing = append(missing, "AWS query-string parameters must include '"+n+"'.")
		}
	}
	if len(missing) > 0 {
		return nil, strings.Join(missing, " ")
	}
	return s, s.scope(q.Get("X-Amz-Credential"))
}

// scope takes the credential apart and returns what is wrong with it.
func (s *signature) scope(credential string) string {
	parts := strings.Split(credential, "/")
	// The access key is everything before the last four elements.
	if len(parts) != 5 {
		return "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + printable(credential) + "'."
	}
	s.accessKeyID, s.date, s.region, s.service = parts[0], parts[1], parts[2], parts[3]
	switch {
	case parts[4] != "aws4_request":
		return "Credential should be scoped with a valid terminator: 'aws4_request', not '" + printable(parts[4]) + "'."
	case s.accessKeyID == "" || len(s.accessKeyID) > 128:
		return "Credential must name an access key."
	case !isRegion(s.region):
		return "Credential should be scoped to a valid region, not '" + printable(s.region) + "'."
	}
	return ""
}

// isRegion reports whether s can be a region's name. Regions become parts of
// keys and ARNs.
func isRegion(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// printable cuts what a client sent to a length that fits an error text.
func printable(s string) string {
	if len(s) > 128 {
		s = s[:128] + "..."
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// time returns the signature's time.
func (s *signature) time() (time.Time, bool) {
	if t, err := time.Parse(amzDateForm, s.timestamp); err == nil {
		return t, true
	}
	if s.presigned {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, time.RFC3339} {
		if t, err := time.Parse(layout, s.timestamp); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// checkTime returns nil if the signature is of a time within the skew of now,
// and a presigned one has not expired.
func (s *signature) checkTime(now time.Time, skew time.Duration, p awsapi.Protocol) *fault {
	t, ok := s.time()
	if !ok {
		return errIncompleteAuth.fault(p, "Date must be in ISO-8601 'basic format'. Got '"+printable(s.timestamp)+"'.")
	}
	if t.Format("20060102") != s.date {
		return errBadSignature.fault(p, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			printable(s.date)+"' != '"+t.Format("20060102")+"', from '"+printable(s.timestamp)+"'.")
	}
	oldest := now.Add(-skew)
	if s.presigned && s.expires != "" { // the Go SDK leaves it out: as good as a header then
		n, err := strconv.Atoi(s.expires)
		if err != nil || n < 1 || n > maxExpires {
			return errIncompleteAuth.fault(p, "X-Amz-Expires must be a number of seconds from 1 to 604800.")
		}
		if now.After(t.Add(time.Duration(n) * time.Second)) {
			return errExpiredURL.fault(p, "Request has expired.")
		}
		oldest = t
	}
	switch {
	case t.Before(oldest):
		return errBadSignature.fault(p, "Signature expired: "+t.Format(amzDateForm)+" is now earlier than "+oldest.UTC().Format(amzDateForm)+
			" ("+now.UTC().Format(amzDateForm)+" - "+minutes(skew)+" min.)")
	case t.After(now.Add(skew)):
		return errBadSignature.fault(p, "Signature not yet current: "+t.Format(amzDateForm)+" is still later than "+
			now.Add(skew).UTC().Format(amzDateForm)+" ("+now.UTC().Format(amzDateForm)+" + "+minutes(skew)+" min.)")
	}
	return nil
}

func minutes(d time.Duration) string { return strconv.Itoa(int(d / time.Minute)) }
