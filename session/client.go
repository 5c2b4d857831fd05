package session

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"cloakroom.example/session/store"
)

// peerAddr returns the address of the connection's peer.
func peerAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// Forwarded returns a [Config.ClientAddr] for servers behind proxies that append
// to X-Forwarded-For: the last address in it that is not a trusted proxy's. The
// header counts only when the connection itself comes from one of them; without
// trusted proxies it is never read. Control: trusted-proxy.
func Forwarded(trusted ...netip.Prefix) func(*http.Request) netip.Addr {
	isTrusted := func(a netip.Addr) bool {
		for _, p := range trusted {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) netip.Addr {
		addr := peerAddr(r)
		hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
		for i := len(hops) - 1; i >= 0 && isTrusted(addr); i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				return addr // what stands before it cannot be believed either
			}
			addr = hop.Unmap().WithZone("")
		}
		return addr
	}
}

// source returns what budgets are kept for: the address, or the /64 of an IPv6
// address, because one customer has all of that.
func source(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// mayBeProxy reports whether the address may be that of a proxy, behind which
// everybody is: one that is not public, where nobody has told us how to look
// behind it.
func (m *Manager) mayBeProxy(a netip.Addr) bool {
	return m.peersOnly && (a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast())
}

// clientOf returns what a record keeps of a request's origin.
func (m *Manager) clientOf(r *http.Request) store.Client {
	agent := strings.ToValidUTF8(first(r.Header["User-Agent"]), "?")
	if len(agent) > store.MaxAgent {
		agent = strings.ToValidUTF8(agent[:store.MaxAgent], "")
	}
	return store.Client{Addr: m.addrOf(r), Agent: agent}
}

// addrOf asks Config.ClientAddr. A client whose headers make that panic has no
// address; it must not be able to do more.
func (m *Manager) addrOf(r *http.Request) (addr netip.Addr) {
	defer func() {
		if p := recover(); p != nil {
			m.cfg.Logger.Error("session: Config.ClientAddr panicked", "panic", fmt.Sprint(p))
			addr = netip.Addr{}
		}
	}()
	return m.cfg.ClientAddr(r)
}
