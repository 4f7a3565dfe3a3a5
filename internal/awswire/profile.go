package awswire

import "github.com/sestina-mail/sestina/internal/awsapi"

// A rule is a kind of constraint that the models state.
type rule uint8

const (
	ruleRequired rule = 1 << iota
	ruleLength        // of strings, blobs, lists and maps
	ruleRange         // of numbers
	rulePattern
	ruleEnum

	allRules = ruleRequired | ruleLength | ruleRange | rulePattern | ruleEnum
)

// A profile says how one service differs from the others in what this package
// checks and answers. It is the only place for such differences.
type profile struct {
	// rules are the constraints checked here; the others are left to the
	// service's handlers because it answers them with texts of its own.
	rules rule
	// except takes rules away from single members, named Shape$Member.
	except map[string]rule
	// invalid is the code of a violated constraint.
	invalid frameworkError
	// valueNull is what stands before the path of a missing member.
	valueNull string
	// hideValues leaves out what the wrong value was.
	hideValues bool
	// enumOrder is how the values of an enum are listed, by the model's order.
	enumOrder map[string]string
	// missing overrules code and text of a missing member. It gets the
	// member's path in the query protocol, such as Entries.1.Id.
	missing func(path string) (frameworkError, string)
	// stringNumbers accepts numbers written as JSON strings.
	stringNumbers bool
	// queryText changes a message for the query protocol.
	queryText func(shape, message string) string
	// internal is the shape of the service's own internal error; empty means
	// InternalFailure.
	internal string
	// mail says that requests may carry whole messages.
	mail bool
}

var (
	validationError     = frameworkError{"ValidationError", "ValidationException", coralValidate, 400, 400, 400}
	badRequestException = frameworkError{"ValidationError", "BadRequestException", "", 400, 400, 400}
	missingParameter    = frameworkError{"MissingParameter", "MissingRequiredParameterException", "", 400, 400, 400}
)

var profiles = map[string]profile{
	"sesv2": {
		rules: allRules, invalid: badRequestException, valueNull: "Value", hideValues: true,
		internal: "InternalServiceErrorException", mail: true,
		enumOrder: map[string]string{
			"REQUIRE, OPTIONAL":                    "OPTIONAL, REQUIRE",
			"REQUIRE, REQUIRE_OPEN_ONLY, OPTIONAL": "OPTIONAL, REQUIRE, REQUIRE_OPEN_ONLY",
			"OPT_IN, OPT_OUT":                      "OPT_OUT, OPT_IN",
		},
		except: map[string]rule{
			// These operations have texts of their own for bad values.
			"PutConfigurationSetSuppressionOptionsRequest$SuppressedReasons": ruleEnum,
			"CreateDedicatedIpPoolRequest$ScalingMode":                       ruleEnum,
			// SES answers unknown event types itself, with the list of valid
			// ones; reference: event destinations.
			"EventDestinationDefinition$MatchingEventTypes": ruleEnum,
		},
	},
	"ses": {
		rules: allRules, invalid: validationError, valueNull: "Value null", mail: true,
		except: map[string]rule{
			"EventDestination$MatchingEventTypes":                              ruleEnum,
			"SetIdentityNotificationTopicRequest$NotificationType":             ruleEnum,
			"SetIdentityHeadersInNotificationsEnabledRequest$NotificationType": ruleEnum,
		},
	},
	"sns": {rules: ruleRequired, invalid: validationError, valueNull: "Value null", internal: "InternalErrorException"},
	"sqs": {
		rules: ruleRequired, invalid: validationError, valueNull: "Value null", stringNumbers: true,
		// What is missing in one entry of a batch fails that entry, not the call.
		except: map[string]rule{
			"DeleteMessageBatchRequestEntry$ReceiptHandle":           ruleRequired,
			"ChangeMessageVisibilityBatchRequestEntry$ReceiptHandle": ruleRequired,
			"SendMessageBatchRequestEntry$MessageBody":               ruleRequired,
			"MessageAttributeValue$DataType":                         ruleRequired,
		},
		missing: func(path string) (frameworkError, string) {
			return missingParameter, "The request must contain the parameter " + path + "."
		},
		queryText: func(shape, message string) string {
			if shape == "QueueDoesNotExist" && message == "The specified queue does not exist." {
				return "The specified queue does not exist for this wsdl version."
			}
			return message
		},
	},
	"cloudwatch":  {rules: allRules, invalid: validationError, valueNull: "Value null", internal: "InternalServiceFault"},
	"firehose":    {rules: allRules, invalid: validationError, valueNull: "Value null"},
	"eventbridge": {rules: allRules, invalid: validationError, valueNull: "Value null", internal: "InternalException"},
	"pinpoint":    {rules: ruleRequired | ruleEnum, invalid: badRequestException, valueNull: "Value null", internal: "InternalServerErrorException"},
	"sts":         {rules: allRules, invalid: validationError, valueNull: "Value null"},
}

// knownProtocols names a protocol for logs.
func protocolName(p awsapi.Protocol) string {
	switch p {
	case awsapi.ProtocolQuery:
		return "query"
	case awsapi.ProtocolREST:
		return "rest-json"
	case awsapi.ProtocolJSON:
		return "json"
	case awsapi.ProtocolCBOR:
		return "cbor"
	}
	return "unknown"
}
