// Gin shows sessions in a program that uses gin-gonic/gin.
//
//	go run ./examples/gin
//
// Open http://127.0.0.1:8080/, count, sign in as alice (coat), sign out.
//
// The manager goes around the whole engine, not into [gin.Engine.Use]. Gin keeps a
// status back until the first byte, and its writer passes that, Flush and Hijack on
// to the writer below. With the manager's writer below, the session is stored
// before the first byte, event streams and WebSockets end with it, and a failure
// to store replaces the response. A middleware would have to build all of that
// again above gin's writer, which gin allows nobody to make anew.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

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
	if err := serve.Run(*addr, recovered(m.Handler(engine(m))), m.Close); err != nil {
		log.Fatal(err)
	}
}

// recovered answers panics. It takes the place of [gin.Recovery], which would be
// inside of the manager: it would see a handler that has answered 500 as it
// should, and store what that had changed halfway.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				log.Printf("panic: %v", cause)
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// app holds what the handlers need.
type app struct{ sessions *session.Manager }

func engine(m *session.Manager) http.Handler {
	a := &app{sessions: m}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	// Without this a gin.Context is a context that does not know the request's,
	// and m.Login(c, …) finds no session.
	e.ContextWithFallback = true
	e.GET("/", a.home)
	e.POST("/count", a.count)
	e.POST("/login", a.login)
	e.POST("/logout", a.logout)
	e.POST("/fail", a.fail)
	account := e.Group("/account", use(m.RequireLogin))
	account.GET("", a.account)
	account.GET("/clock", a.clock)
	return e
}

// use turns a gate of the manager into a middleware of gin: what the gate does not
// pass on is aborted. It is not for [session.Manager.Handler], see above.
func use(gate func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		gate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

func (a *app) home(c *gin.Context) {
	s := session.From(c)
	csrf, err := a.sessions.CSRFField(c) // before the first byte
	if err != nil {
		refuse(c, err)
		return
	}
	n, _ := count.Get(s)
	c.Header("Content-Type", "text/html; charset=utf-8")
	_ = page.Write(c.Writer, page.Page{Title: "gin", User: s.Subject(), Count: n, CSRF: csrf})
}

func (a *app) count(c *gin.Context) {
	home(c, count.Update(c, session.From(c), func(n *int) error {
		*n++
		return nil
	}))
}

func (a *app) login(c *gin.Context) {
	user := c.PostForm("user")
	if !accounts.Check(user, c.PostForm("password")) {
		c.String(http.StatusUnauthorized, "wrong name or password")
		return
	}
	home(c, a.sessions.Login(c, session.Identity{Subject: user, Methods: []string{"pwd"}}))
}

func (a *app) logout(c *gin.Context) { home(c, a.sessions.Logout(c)) }

// fail changes the session and panics: what was set is not stored.
func (a *app) fail(c *gin.Context) {
	if err := count.Set(session.From(c), 1000); err == nil {
		panic("gin: failing, as was asked for")
	}
}

func (a *app) account(c *gin.Context) {
	c.String(http.StatusOK, "the account of %s\n", session.From(c).Subject())
}

// clock streams the time until the client leaves or the session ends.
func (a *app) clock(c *gin.Context) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		c.SSEvent("", time.Now().Format(time.TimeOnly))
		c.Writer.Flush()
		select {
		case <-ticks.C:
		case <-c.Done():
			return
		}
	}
}

// home goes back to the page, or says what went wrong.
func home(c *gin.Context, err error) {
	if err != nil {
		refuse(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/")
}

// refuse answers with the status that fits an error of the sessions.
func refuse(c *gin.Context, err error) {
	_ = c.Error(err) // for the logs of middleware
	c.String(session.Status(err), "%s", err)
}
