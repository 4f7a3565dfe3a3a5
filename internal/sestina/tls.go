package sestina

import (
	"crypto/tls"
	"strings"
)

// TLSVersionName spells a TLS version as the tags ses:source-tls-version and
// ses:outgoing-tls-version do: TLSv1.2, TLSv1.3.
func TLSVersionName(v uint16) string { return strings.ReplaceAll(tls.VersionName(v), "TLS ", "TLSv") }
