package sestina

// A Tag is a name and a value: a message tag or a resource tag.
type Tag struct {
	Name  string
	Value string
}
