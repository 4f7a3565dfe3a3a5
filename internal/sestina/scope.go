package sestina

// A Scope says whose data something is: one account in one region. Resources
// of different regions are separate, as at AWS, so every key in the store
// begins with a Scope.
type Scope struct {
	Account string // 12 digits
	Region  string // such as us-east-1
}

// String returns "account/region", for logs and error messages.
func (s Scope) String() string { return s.Account + "/" + s.Region }
