package storeurl

import (
	"crypto/tls"
	"fmt"
)

// Connections says what a URL means to the driver: user, password and
// database, and each host with how connections to it are encrypted.
func Connections(text string) (all []string, err error) {
	a, err := parse(text)
	if err != nil {
		return nil, err
	}
	switch a.engine {
	case PostgreSQL:
		c, err := a.postgreSQLConfig()
		if err != nil {
			return nil, err
		}
		all = append(all, c.User, c.Password, c.Database, fmt.Sprintf("%s %d %s", c.Host, c.Port, encryption(c.TLSConfig)))
		for _, f := range c.Fallbacks {
			all = append(all, fmt.Sprintf("%s %d %s", f.Host, f.Port, encryption(f.TLSConfig)))
		}
	case MySQL:
		c, err := a.mySQLConfig()
		if err != nil {
			return nil, err
		}
		all = append(all, c.User, c.Passwd, c.DBName, fmt.Sprintf("%s %s %s", c.Net, c.Addr, encryption(c.TLS)))
	case Redis:
		c, err := a.redisClient()
		if err != nil {
			return nil, err
		}
		all = append(all, c.Username, c.Password, fmt.Sprintf("%d %s", c.SelectDB, c.Sentinel.MasterSet))
		for _, host := range c.InitAddress {
			all = append(all, host+" "+encryption(c.TLSConfig))
		}
	default:
		all = append(all, a.path)
	}
	return all, nil
}

func encryption(c *tls.Config) string {
	switch {
	case c == nil:
		return "plain"
	case c.VerifyConnection != nil:
		return "issuer"
	case c.InsecureSkipVerify:
		return "unverified"
	case c.ServerName == "":
		return "verified"
	}
	return "verified as " + c.ServerName
}

// Clean removes passwords from an error, as everything that leaves the package.
func Clean(err error, shown string, secrets ...string) error {
	return newScrubber(shown, secrets...).clean(err)
}
