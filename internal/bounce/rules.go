package bounce

// The bounce types. ses-guide:event-publishing-retrieving-sns-contents
const (
	Permanent    = "Permanent"    // the address is bad: do not mail it again
	Transient    = "Transient"    // the address may be good
	Undetermined = "Undetermined" // the reply says too little
)

// The bounce subtypes that replies lead to. Others are given by who knows the
// cause: CustomTimeoutExceeded by Expired, the suppression ones by acceptance.
const (
	General               = "General"
	MailboxFull           = "MailboxFull"           // also a delay type
	MessageTooLarge       = "MessageTooLarge"       // Transient only
	ContentRejected       = "ContentRejected"       // Transient only
	AttachmentRejected    = "AttachmentRejected"    // Transient only
	CustomTimeoutExceeded = "CustomTimeoutExceeded" // Transient only: MaxDeliverySeconds ran out
)

// The delay types that are not also bounce subtypes.
const (
	InternalFailure               = "InternalFailure"
	SpamDetected                  = "SpamDetected"
	RecipientServerError          = "RecipientServerError"
	IPFailure                     = "IPFailure"
	TransientCommunicationFailure = "TransientCommunicationFailure"
	SendingDeferral               = "SendingDeferral"
)

// A Rule says what a reply means when all of its conditions hold. An empty
// condition always holds.
type Rule struct {
	// Name is unlike every other rule's; testdata/smtp/<name>.txt has replies
	// that the rule must and must not take.
	Name string
	// Codes are reply codes; x stands for any digit: "552", "45x".
	Codes []string
	// Enhanced are enhanced status codes; * stands for any number, as the class
	// for both failures: "*.2.2", "5.7.*".
	Enhanced []string
	// Text are patterns, one of which must be in the text of the reply, case
	// ignored. * stands for anything within the reply.
	Text []string

	Type    string // of the bounce that a final failure gives
	SubType string
	Delay   string // of the delay that a temporary failure gives
}

// Rules is how SES-like types follow from replies; the first rule that matches
// wins, so what a text says comes before what a code says, and the vaguer codes
// come last. A DSN's status and diagnostic text are read by the same rules.
var Rules = []Rule{
	// What went wrong on our side of the conversation.
	{
		Name: "own-fault", Enhanced: []string{"*.3.5", "4.7.8", "5.7.8", "5.7.9"}, Codes: []string{"530", "534", "535", "538", "454"},
		Type: Transient, SubType: General, Delay: InternalFailure,
	},
	{
		Name: "tls-required", Enhanced: []string{"*.7.10"},
		Type: Transient, SubType: General, Delay: TransientCommunicationFailure,
	},

	// The mailbox is there but full.
	{
		Name: "mailbox-full-code", Enhanced: []string{"*.2.2"},
		Type: Transient, SubType: MailboxFull, Delay: MailboxFull,
	},
	{
		Name: "mailbox-full-text", Codes: []string{"4xx", "5xx"},
		Text: []string{
			"mailbox*full", "over quota", "overquota", "quota exceeded", "exceeded*quota", "exceeds*quota", "quota*exceeded",
			"out of storage", "insufficient storage*mailbox", "mailbox*size limit*exceeded", "user*disk*full", "inbox is full",
		},
		Type: Transient, SubType: MailboxFull, Delay: MailboxFull,
	},

	// The message is too large.
	{
		Name: "too-large-code", Enhanced: []string{"*.2.3", "*.3.4"},
		Type: Transient, SubType: MessageTooLarge, Delay: General,
	},
	{
		Name: "too-large-text", Codes: []string{"4xx", "5xx"},
		Text: []string{
			"message*too large", "message*too big", "message size exceeds", "exceeds*message size", "exceeds*size limit",
			"maximum message size", "message length exceeds", "size*exceeds*limit",
		},
		Type: Transient, SubType: MessageTooLarge, Delay: General,
	},

	// The address does not exist, whatever the code.
	{
		Name: "unknown-user-text", Codes: []string{"5xx"},
		Text: []string{
			"user unknown", "unknown user", "no such user", "no such recipient", "no such mailbox", "unknown recipient",
			"recipient unknown", "user not found", "recipient not found", "mailbox not found", "address unknown",
			"user doesn't exist", "user does not exist", "account*does not exist", "mailbox*does not exist",
			"address*does not exist", "account*disabled", "account*suspended", "mailbox*disabled", "invalid recipient",
			"invalid mailbox", "recipient address rejected: access denied",
		},
		Type: Permanent, SubType: General, Delay: General,
	},

	// The content was refused.
	{
		Name: "attachment-text", Codes: []string{"4xx", "5xx"},
		Text: []string{"attachment", "file type*not allowed", "prohibited file", "banned file", "executable*blocked"},
		Type: Transient, SubType: AttachmentRejected, Delay: General,
	},
	{
		Name: "spam-text", Codes: []string{"4xx", "5xx"},
		Text: []string{
			"unsolicited", "spam message", "message*spam", "as spam", "looks like spam", "spam detected", "spam score", "bulk mail",
			"likely spam", "considered spam", "spam content",
		},
		Type: Transient, SubType: ContentRejected, Delay: SpamDetected,
	},
	{
		Name: "content-code", Enhanced: []string{"*.6.*", "5.7.7"},
		Type: Transient, SubType: ContentRejected, Delay: General,
	},
	{
		Name: "content-text", Codes: []string{"4xx", "5xx"},
		Text: []string{"message content", "content rejected", "content*not accept", "virus", "malware", "phishing", "blocked*content", "potential security issue"},
		Type: Transient, SubType: ContentRejected, Delay: General,
	},

	// The sending address or host was refused, not the recipient.
	{
		Name: "ip-text", Codes: []string{"4xx", "5xx"},
		Text: []string{
			"blocklist", "blacklist", "block list", "black list", "blocked using", "spamhaus", "barracuda", "rbl", "dnsbl", "your ip",
			"ip address*blocked", "client host*blocked", "poor reputation", "low reputation", "ip reputation", "reverse dns",
			"reverse hostname", "ptr record", "banned sending ip", "traffic not accepted from this ip",
		},
		Type: Transient, SubType: General, Delay: IPFailure,
	},
	{
		Name: "rate-text", Codes: []string{"4xx", "5xx"},
		Text: []string{
			"rate limit", "ratelimit", "rate-limit", "too many connections", "too many messages", "too many recipients", "too much mail",
			"throttl", "unusual rate", "try again later*rate", "sending limit", "connection limit",
		},
		Type: Transient, SubType: General, Delay: IPFailure,
	},
	{
		Name: "sender-refused", Enhanced: []string{"*.1.7", "*.1.8", "*.7.20", "*.7.23", "*.7.25", "*.7.26", "*.7.27", "5.7.60"},
		Type: Transient, SubType: General, Delay: General,
	},
	{
		Name: "sender-text", Codes: []string{"4xx", "5xx"},
		Text: []string{
			"sender*rejected", "sender*denied", "sender*not accept", "spf", "dkim", "dmarc", "unauthenticated", "not authenticated",
			"relay access denied", "relaying denied", "unable to relay", "relay not permitted", "authentication required",
		},
		Type: Transient, SubType: General, Delay: General,
	},

	{
		Name: "greylisted", Codes: []string{"4xx"},
		Text: []string{"greylist", "graylist", "grey-list", "gray-list", "grey list", "gray list"},
		Type: Transient, SubType: General, Delay: General,
	},

	// What codes say when the text says nothing known.
	{
		Name: "bad-address-code", Enhanced: []string{"*.1.*"},
		Type: Permanent, SubType: General, Delay: General,
	},
	{
		Name: "mailbox-code", Enhanced: []string{"*.2.*"},
		Type: Permanent, SubType: General, Delay: General,
	},
	{
		Name: "server-code", Enhanced: []string{"*.3.*"},
		Type: Transient, SubType: General, Delay: RecipientServerError,
	},
	{
		// 5.4.1 and 5.4.4: no such recipient or domain behind this server.
		Name: "no-route-code", Enhanced: []string{"5.4.*"},
		Type: Permanent, SubType: General, Delay: General,
	},
	{
		Name: "network-code", Enhanced: []string{"4.4.*"},
		Type: Transient, SubType: General, Delay: TransientCommunicationFailure,
	},
	{
		Name: "protocol-code", Enhanced: []string{"*.5.*"},
		Type: Transient, SubType: General, Delay: RecipientServerError,
	},
	{
		Name: "policy-code", Enhanced: []string{"*.7.*"},
		Type: Permanent, SubType: General, Delay: General,
	},
	{
		Name: "storage-reply", Codes: []string{"552"},
		Type: Transient, SubType: MailboxFull, Delay: MailboxFull,
	},
	{
		Name: "service-reply", Codes: []string{"421"},
		Type: Transient, SubType: General, Delay: TransientCommunicationFailure,
	},
	{
		Name: "server-reply", Codes: []string{"451", "452", "455"},
		Type: Transient, SubType: General, Delay: RecipientServerError,
	},
	{
		// Bad syntax or sequence: the server does not take what SMTP allows.
		Name: "syntax-reply", Codes: []string{"500", "501", "502", "503", "504", "555"},
		Type: Transient, SubType: General, Delay: RecipientServerError,
	},
	{
		Name: "temporary-reply", Codes: []string{"4xx"},
		Type: Transient, SubType: General, Delay: General,
	},
	{
		Name: "permanent-reply", Codes: []string{"5xx"},
		Type: Permanent, SubType: General, Delay: General,
	},
	{
		Name: "status-only", Enhanced: []string{"4.*.*"},
		Type: Transient, SubType: General, Delay: General,
	},
	{
		Name: "status-only-permanent", Enhanced: []string{"5.*.*"},
		Type: Permanent, SubType: General, Delay: General,
	},
	{
		Name: "unknown",
		Type: Undetermined, SubType: Undetermined, Delay: Undetermined,
	},
}
