package sns

import (
	"errors"
	"html/template"
	"net/http"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// Paths of the pages that email subscribers are sent to.
const (
	confirmationPath = "/confirmation.html"
	unsubscribePath  = "/unsubscribe.html"
)

// A page asks before it acts: mail scanners open links, they do not press
// buttons.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}code{overflow-wrap:anywhere}button{font:inherit;padding:.5rem 1rem}</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .About}}<p><code>{{.}}</code></p>
{{end}}{{with .Button}}<form method="post"><button type="submit">{{.}}</button></form>
{{end}}</body>
</html>
`))

type pageContent struct {
	Title, Text, About, Button string
}

func writePage(w http.ResponseWriter, status int, c pageContent) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = page.Execute(w, c) // the client may be gone
}

// servePage answers GET with the question and POST with act's result.
func servePage(w http.ResponseWriter, r *http.Request, ask pageContent, act func() (pageContent, error)) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		writePage(w, http.StatusOK, ask)
	case http.MethodPost:
		done, err := act()
		var refused *sestina.Error
		switch {
		case err == nil:
			writePage(w, http.StatusOK, done)
		case errors.As(err, &refused):
			writePage(w, http.StatusBadRequest, pageContent{Title: "This did not work", Text: "The link is not valid, or not any more.", About: refused.Message})
		default:
			writePage(w, http.StatusServiceUnavailable, pageContent{Title: "This did not work", Text: "Please try again later."})
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		writePage(w, http.StatusMethodNotAllowed, pageContent{Title: "Method not allowed"})
	}
}

// ConfirmationPage serves /confirmation.html, where an email subscription is
// confirmed.
func (s *Service) ConfirmationPage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		arn := q.Get("TopicArn")
		ask := pageContent{
			Title: "Confirm your subscription", Text: "Do you want to receive the messages of this topic?",
			About: arn, Button: "Confirm subscription",
		}
		servePage(w, r, ask, func() (pageContent, error) {
			scope, err := topicScope(sestina.Scope{}, false, arn)
			if err != nil {
				return pageContent{}, err
			}
			sub, err := s.confirm(r.Context(), scope, q.Get("Token"), false)
			if err != nil {
				return pageContent{}, err
			}
			return pageContent{Title: "Subscription confirmed", Text: "You will receive the messages of this topic. The id of your subscription is:", About: sub.ARN()}, nil
		})
	})
}

// UnsubscribePage serves /unsubscribe.html, where an email subscription is
// ended.
func (s *Service) UnsubscribePage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arn := r.URL.Query().Get("SubscriptionArn")
		ask := pageContent{
			Title: "Unsubscribe", Text: "Do you want to stop receiving the messages of this subscription?",
			About: arn, Button: "Unsubscribe",
		}
		servePage(w, r, ask, func() (pageContent, error) {
			scope, err := topicScope(sestina.Scope{}, false, arn)
			if err != nil {
				return pageContent{}, err
			}
			id, err := parseSubscriptionARN(scope, "Unsubscribe", arn)
			if err != nil {
				return pageContent{}, err
			}
			if err := s.unsubscribe(r.Context(), scope, id, false); err != nil {
				return pageContent{}, err
			}
			return pageContent{Title: "Unsubscribed", Text: "You will not receive messages of this subscription any more."}, nil
		})
	})
}
