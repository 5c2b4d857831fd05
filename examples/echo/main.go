// Echo shows sessions in a program that uses labstack/echo.
//
//	go run ./examples/echo
//
// Open http://127.0.0.1:8080/, count, sign in as alice (coat), sign out.
//
// Echo's response keeps nothing back, and writes, flushes and hijacks through the
// writer below it. So the manager's writer goes there, by [sessions], and all is
// done at the right moment: the session is stored before the first byte, and
// event streams and WebSockets end with it.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/page"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
)

// count is kept in the session, and moves along when its visitor signs in.
var count = session.NewKey[int]("count", session.CarryOver)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	m, err := session.New(session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := serve.Run(*addr, routes(m), m.Close); err != nil {
		log.Fatal(err)
	}
}

// sessions is [session.Manager.Handler] as a middleware of echo. It differs from
// [echo.WrapMiddleware] in that it gives the response back: what answers an error
// or a panic writes above the manager, where the session of a request that broke
// off is not stored any more.
func sessions(m *session.Manager) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			request, response := c.Request(), c.Response()
			defer func() {
				c.SetRequest(request)
				c.SetResponse(response)
			}()
			m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.SetRequest(r)
				c.SetResponse(echo.NewResponse(w, c.Echo()))
				err = next(c)
			})).ServeHTTP(response, request)
			return err
		}
	}
}

// app holds what the handlers need.
type app struct{ sessions *session.Manager }

func routes(m *session.Manager) http.Handler {
	a := &app{sessions: m}
	e := echo.New()
	// Recover comes first, so that a panic passes through the manager, which
	// drops what the handler had changed.
	e.Use(middleware.Recover(), sessions(m))
	e.GET("/", a.home)
	e.POST("/count", a.count)
	e.POST("/login", a.login)
	e.POST("/logout", a.logout)
	e.POST("/fail", a.fail)
	// RequireLogin passes the writer on as it is, so that echo's own adapter does.
	account := e.Group("/account", echo.WrapMiddleware(m.RequireLogin))
	account.GET("", a.account)
	account.GET("/clock", a.clock)
	return e
}

func (a *app) home(c echo.Context) error {
	ctx := c.Request().Context()
	csrf, err := a.sessions.CSRFField(ctx) // before the first byte
	if err != nil {
		return refused(err)
	}
	s := session.From(ctx)
	n, _ := count.Get(s)
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMETextHTMLCharsetUTF8)
	return page.Write(c.Response(), page.Page{Title: "echo", User: s.Subject(), Count: n, CSRF: csrf})
}

func (a *app) count(c echo.Context) error {
	ctx := c.Request().Context()
	return home(c, count.Update(ctx, session.From(ctx), func(n *int) error {
		*n++
		return nil
	}))
}

func (a *app) login(c echo.Context) error {
	user := c.FormValue("user")
	if !accounts.Check(user, c.FormValue("password")) {
		return echo.NewHTTPError(http.StatusUnauthorized, "wrong name or password")
	}
	id := session.Identity{Subject: user, Methods: []string{"pwd"}}
	return home(c, a.sessions.Login(c.Request().Context(), id))
}

func (a *app) logout(c echo.Context) error {
	return home(c, a.sessions.Logout(c.Request().Context()))
}

// fail changes the session and panics: what was set is not stored.
func (a *app) fail(c echo.Context) error {
	if err := count.Set(session.From(c.Request().Context()), 1000); err != nil {
		return refused(err)
	}
	panic("echo: failing, as was asked for")
}

func (a *app) account(c echo.Context) error {
	return c.String(http.StatusOK, fmt.Sprintf("the account of %s\n", session.From(c.Request().Context()).Subject()))
}

// clock streams the time until the client leaves or the session ends.
func (a *app) clock(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentType, "text/event-stream")
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		fmt.Fprintf(c.Response(), "data: %s\n\n", time.Now().Format(time.TimeOnly))
		c.Response().Flush()
		select {
		case <-ticks.C:
		case <-c.Request().Context().Done():
			return nil
		}
	}
}

// home goes back to the page, or says what went wrong.
func home(c echo.Context, err error) error {
	if err != nil {
		return refused(err)
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

// refused is an error of the sessions as one of echo's, with the status that fits.
func refused(err error) error {
	return echo.NewHTTPError(session.Status(err), err.Error()).SetInternal(err)
}
