package message

import (
	"mime"
	"path"
	"strings"
	"unicode/utf8"
)

// An Attachment is a file sent with formatted mail. ses-model:Attachment
type Attachment struct {
	FileName         string // required, at most 255 characters
	ContentType      string // "" takes the type of the file name's extension
	ContentID        string // with or without angle brackets
	Description      string // at most 1000 characters
	Disposition      string // ATTACHMENT (default) or INLINE
	TransferEncoding string // SEVEN_BIT (default), BASE64 or QUOTED_PRINTABLE
	Data             []byte
}

// Limits of attachments, in characters. ses-model:Attachment
const (
	maxFileName      = 255
	maxContentField  = 78 // content type and content id
	maxDescription   = 1000
	defaultMediaType = "application/octet-stream"
)

// mediaTypes are the types of common extensions; a table of our own, so that
// the same request gives the same message on every host.
var mediaTypes = map[string]string{
	".avi": "video/x-msvideo", ".bmp": "image/bmp", ".css": "text/css", ".csv": "text/csv",
	".doc":  "application/msword",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".eml":  "message/rfc822", ".gif": "image/gif", ".gz": "application/gzip", ".htm": "text/html", ".html": "text/html",
	".ics": "text/calendar", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".json": "application/json",
	".md": "text/markdown", ".mov": "video/quicktime", ".mp3": "audio/mpeg", ".mp4": "video/mp4",
	".odt": "application/vnd.oasis.opendocument.text", ".pdf": "application/pdf", ".png": "image/png",
	".ppt":  "application/vnd.ms-powerpoint",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".rtf":  "application/rtf", ".svg": "image/svg+xml", ".tar": "application/x-tar", ".tif": "image/tiff",
	".tiff": "image/tiff", ".txt": "text/plain", ".vcf": "text/vcard", ".wav": "audio/x-wav",
	".webp": "image/webp", ".xls": "application/vnd.ms-excel",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".xml":  "application/xml", ".zip": "application/zip",
}

func (a Attachment) inline() bool { return a.Disposition == "INLINE" }

// check refuses values outside the API model, and forbidden file names.
func (a Attachment) check() error {
	switch {
	case a.FileName == "":
		return refuse("Attachment file name must be specified.")
	case hasControl(a.FileName) || strings.ContainsRune(a.FileName, '\t') || utf8.RuneCountInString(a.FileName) > maxFileName:
		return refuse("Illegal filename")
	case len(a.ContentType) > maxContentField:
		return refuse("Attachment content type is longer than %d characters", maxContentField)
	case len(a.ContentID) > maxContentField:
		return refuse("Attachment content id is longer than %d characters", maxContentField)
	case strings.IndexFunc(a.ContentID, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0,
		strings.ContainsAny(strings.TrimSuffix(strings.TrimPrefix(a.ContentID, "<"), ">"), "<>"):
		return refuse("Attachment content id contains illegal characters")
	case utf8.RuneCountInString(a.Description) > maxDescription:
		return refuse("Attachment description is longer than %d characters", maxDescription)
	case hasControl(a.Description):
		return refuse("Attachment description contains control characters")
	case a.Disposition != "" && a.Disposition != "ATTACHMENT" && a.Disposition != "INLINE":
		return refuse("Invalid attachment content disposition: %s", cleanName(a.Disposition))
	}
	return CheckFilename(a.FileName)
}

// mediaType returns the Content-Type value without a file name.
func (a Attachment) mediaType() (string, error) {
	if a.ContentType == "" {
		if t := mediaTypes[strings.ToLower(path.Ext(a.FileName))]; t != "" {
			return t, nil
		}
		return defaultMediaType, nil
	}
	kind, params, err := mime.ParseMediaType(a.ContentType)
	if err != nil || hasControl(a.ContentType) || strings.Count(kind, "/") != 1 || strings.HasPrefix(kind, "multipart/") {
		return "", refuse("Invalid attachment content type: %s", cleanName(a.ContentType))
	}
	delete(params, "name") // the file name says it
	value := mime.FormatMediaType(kind, params)
	if value == "" {
		return "", refuse("Invalid attachment content type: %s", cleanName(a.ContentType))
	}
	return value, nil
}

// attachmentNode builds the leaf for an attachment.
func attachmentNode(a Attachment) (*node, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	mediaType, err := a.mediaType()
	if err != nil {
		return nil, err
	}
	encoding, body, err := a.encode()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("Content-Type: " + mediaType + formatParam("name", a.FileName) + "\r\n")
	b.WriteString("Content-Transfer-Encoding: " + encoding + "\r\n")
	disposition := "attachment"
	if a.inline() {
		disposition = "inline"
	}
	b.WriteString("Content-Disposition: " + disposition + formatParam("filename", a.FileName) + "\r\n")
	if id := strings.Trim(a.ContentID, "<>"); id != "" {
		b.WriteString("Content-ID: <" + id + ">\r\n")
	}
	if a.Description != "" {
		description := cleanValue(a.Description)
		if !foldable(description) {
			description = encodeWords(a.Description, "UTF-8", nil)
		}
		b.Write(appendFolded(nil, "Content-Description", description))
	}
	return &node{fields: b.String(), body: body}, nil
}

// encode applies the transfer encoding. Data that cannot travel in the one asked
// for (binary data as SEVEN_BIT, which is the default) goes as base64: the file
// arrives as it was in any case.
func (a Attachment) encode() (encoding string, body []byte, err error) {
	switch a.TransferEncoding {
	case "", "SEVEN_BIT":
		if isMailText(a.Data) {
			return "7bit", a.Data, nil
		}
		return "base64", encodeBase64(a.Data), nil
	case "BASE64":
		return "base64", encodeBase64(a.Data), nil
	case "QUOTED_PRINTABLE":
		_, clean := scanLineEnds(a.Data)
		return "quoted-printable", encodeQP(a.Data, !clean), nil
	}
	return "", nil, refuse("Invalid attachment content transfer encoding: %s", cleanName(a.TransferEncoding))
}
