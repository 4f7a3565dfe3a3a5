package awsapi

// A Kind is the kind of value a shape describes, and thereby the Go type of a
// member with that shape.
type Kind uint8

// The kinds of the models this package knows.
const (
	KindStructure Kind = iota // *T as a member, T in lists and maps
	KindList                  // []T
	KindMap                   // map[string]T
	KindString                // *string
	KindBoolean               // *bool
	KindInteger               // *int32
	KindLong                  // *int64
	KindDouble                // *float64; also the models' "float"
	KindTimestamp             // *time.Time, UTC
	KindBlob                  // []byte
)

// A TimeFormat says how a timestamp is written where the model overrules the
// protocol's own form.
type TimeFormat uint8

// The timestamp formats. TimeDefault is ISO 8601 in the query protocol and in
// query strings, epoch seconds in JSON and CBOR.
const (
	TimeDefault TimeFormat = iota
	TimeISO8601
	TimeUnix
)

// A Location says where a restJson1 request or response carries a member.
type Location uint8

// The locations. LocationPayload means that the member is the whole body.
const (
	LocationBody Location = iota
	LocationURI
	LocationQuery
	LocationHeader
	LocationPayload
)

// A Protocol is a set of wire protocols.
type Protocol uint8

// The protocols. JSON is awsJson1_0 and awsJson1_1: they differ in the content
// type and in the form of error codes only.
const (
	ProtocolQuery Protocol = 1 << iota
	ProtocolREST
	ProtocolJSON
	ProtocolCBOR
)

// A Service is one API: its names on the wire and its tables.
type Service struct {
	// Name is the package name: sesv2, ses, sns, sqs, cloudwatch, firehose,
	// pinpoint, eventbridge or sts.
	Name string
	// SigningName is the service in a SigV4 credential scope.
	SigningName string
	// Version is the API version, a date, as the query protocol sends it.
	Version string
	// TargetPrefix is what stands before the dot in X-Amz-Target, and the
	// service name in the paths of rpc-v2-cbor.
	TargetPrefix string
	// XMLNamespace is the namespace of query responses.
	XMLNamespace string
	// JSONVersion is "1.0" or "1.1" for JSON services.
	JSONVersion string
	// Namespace is the Smithy namespace that JSON 1.0 and CBOR errors carry
	// before the '#'. Empty means that codes are sent bare.
	Namespace string
	// Protocols are all protocols that clients speak.
	Protocols Protocol
	// QueryCompatible says that JSON and CBOR errors carry the legacy code in
	// x-amzn-query-error.
	QueryCompatible bool

	Shapes     []Shape
	Operations []OperationInfo // sorted by name
	Errors     []Error         // sorted by shape name
}

// A Shape describes a type.
type Shape struct {
	Name    string // empty for scalars, which are shared between names
	Kind    Kind
	Format  TimeFormat // timestamps
	Elem    int32      // lists and maps: index of the shape of element or value
	Key     int32      // maps: index of the key's shape
	KeyName string     // maps: element names in the query protocol, if not key and value
	ValName string
	Members []Member // structures: in the order of the Go fields
	Limits  *Limits  // nil: none
}

// A Member is one member of a structure.
type Member struct {
	Name      string
	Wire      string // name in JSON, URI, query string or header, if not Name
	QueryName string // name in the query protocol, if not Name
	Shape     int32
	Location  Location
	Format    TimeFormat
	Required  bool
	Flattened bool // lists and maps in the query protocol
}

// WireName returns the member's name in JSON, CBOR and REST bindings.
func (m *Member) WireName() string {
	if m.Wire != "" {
		return m.Wire
	}
	return m.Name
}

// QueryParam returns the member's name in the query protocol.
func (m *Member) QueryParam() string {
	if m.QueryName != "" {
		return m.QueryName
	}
	return m.Name
}

// Limits are the constraints of a shape: of the length of strings (in
// characters), blobs (in bytes), lists and maps, or of the value of numbers.
type Limits struct {
	HasMin, HasMax bool
	Min, Max       int64
	Pattern        string // Java regular expression, matched against the whole value
	Enum           []string
}

// OperationInfo is an operation's row in the table.
type OperationInfo struct {
	Name    string
	Input   int32  // index of the input shape
	Output  int32  // index of the output shape
	Wrapper string // element around the members in a query response; empty: none
	Status  int    // HTTP status of success
	Routes  []Route
}

// A Route is a method and path template of a restJson1 operation.
type Route struct {
	Method string
	Path   string // with {Label} and {Label+}
	Body   bool   // members that the model puts into the query string are in the body
}

// An Error is an error shape of a service.
type Error struct {
	Shape  string // exception name, as JSON, REST and CBOR send it
	Code   string // as the query protocol sends it
	Status int
	Server bool // the fault is the server's
}

// An Operation ties an operation to its Go types, so that handlers register
// type-safely.
type Operation[In, Out any] struct {
	Service *Service
	Index   int
}

// Info returns the operation's row.
func (o Operation[In, Out]) Info() *OperationInfo { return &o.Service.Operations[o.Index] }
