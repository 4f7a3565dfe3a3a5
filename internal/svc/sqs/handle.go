package sqs

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A handle is what a receipt handle holds. Clients see it as opaque text; it is
// not secret and not authenticated, since only who may use the queue can do
// anything with it.
type handle struct {
	queue    sestina.ID
	receipt  store.Receipt
	received time.Time // millisecond precision
}

// The bytes of a handle: three of format, queue, message, receipt, milliseconds
// of the receive, and a checksum that tells damaged handles from old ones.
const handleSize = 3 + 16 + 16 + 8 + 8 + 4

var handleFormat = [3]byte{1, 1, 1}

// String writes the handle as the text that clients get.
func (h handle) String() string {
	b := make([]byte, 0, handleSize)
	b = append(b, handleFormat[:]...)
	b = append(b, h.queue[:]...)
	b = append(b, h.receipt.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, h.receipt.Receipt)
	b = binary.BigEndian.AppendUint64(b, uint64(h.received.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.StdEncoding.EncodeToString(b)
}

// parseHandle reads the text of String; it reports false for anything else.
func parseHandle(s string) (handle, bool) {
	var h handle
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != handleSize || [3]byte(b[:3]) != handleFormat {
		return handle{}, false
	}
	sum := len(b) - 4
	if binary.BigEndian.Uint32(b[sum:]) != crc32.ChecksumIEEE(b[:sum]) || base64.StdEncoding.EncodeToString(b) != s {
		return handle{}, false
	}
	copy(h.queue[:], b[3:19])
	copy(h.receipt.ID[:], b[19:35])
	h.receipt.Receipt = binary.BigEndian.Uint64(b[35:43])
	h.received = time.UnixMilli(int64(binary.BigEndian.Uint64(b[43:51]))).UTC()
	return h, true
}

// readHandle returns the handle of a request about a message of q.
func readHandle(q queue, text *string) (handle, error) {
	if value(text) == "" {
		return handle{}, missing("ReceiptHandle")
	}
	h, ok := parseHandle(*text)
	if !ok {
		return handle{}, sestina.Errorf("ReceiptHandleIsInvalid", "The input receipt handle \"%s\" is not a valid receipt handle.", *text)
	}
	if h.queue != q.ID {
		return handle{}, errExpiredHandle(*text)
	}
	return h, nil
}

func errExpiredHandle(text string) error {
	return invalidValue(text, "ReceiptHandle", "The receipt handle has expired.")
}
