package message

import "github.com/sestina-mail/sestina/internal/sestina"

// refuse returns the error for content a client must change.
func refuse(format string, args ...any) *sestina.Error {
	return sestina.SESErrorf("InvalidParameterValue", "BadRequestException", format, args...)
}
