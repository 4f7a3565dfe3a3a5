package app

import "github.com/sestina-mail/sestina/internal/awswire"

// Unimplemented lists the AWS operations that are answered with an error
// naming them, because no service has a handler for them, by service and name.
func (a *App) Unimplemented() []awswire.OperationName { return a.mux.Unimplemented() }
