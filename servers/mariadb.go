package servers

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// StartMariaDB runs a MariaDB server.
func StartMariaDB(ctx context.Context, o Options) (*Server, error) {
	return start(ctx, mariadb{}, o)
}

type mariadb struct{}

func (mariadb) find(names ...string) (string, error) {
	return find("mariadb-server (MariaDB 10.6 or later; on Debian and Ubuntu: apt-get install mariadb-server)",
		[]string{"/usr/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin"}, names...)
}

func (mariadb) accounts() []string { return []string{"mysql", "nobody"} }

func (mariadb) goodbye() string { return "KILL" }

func (mariadb) stop() syscall.Signal { return syscall.SIGTERM }

func (m mariadb) prepare(ctx context.Context, s *Server) error {
	install, err := m.find("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return err
	}
	// A server that starts removes temporary tables, those of others too.
	cmd := exec.CommandContext(ctx, install, "--no-defaults", "--datadir="+s.path("data"), "--tmpdir="+s.dir,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	if err := prepared(s, cmd); err != nil {
		return err
	}
	// Executed at every start, as nobody can log in before the first.
	return os.WriteFile(s.path("users.sql"), []byte(
		"CREATE USER IF NOT EXISTS '"+user+"'@'%' IDENTIFIED BY '"+strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s.Password())+"';\n"+
			"GRANT ALL PRIVILEGES ON *.* TO '"+user+"'@'%' WITH GRANT OPTION;\n"+
			"CREATE DATABASE IF NOT EXISTS "+user+";\n"), 0o644)
}

func (m mariadb) command(s *Server) ([]string, error) {
	program, err := m.find("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	flush := "1"
	if s.options.Unsynced {
		flush = "2" // written at each commit, synced once a second
	}
	command := []string{program, "--no-defaults", "--datadir=" + s.path("data"), "--tmpdir=" + s.dir, "--init-file=" + s.path("users.sql"),
		"--skip-networking=0", "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port),
		"--socket=" + s.path("socket"), "--pid-file=" + s.path("pid"), "--skip-name-resolve", "--skip-log-bin",
		"--max-connections=300", "--innodb-buffer-pool-size=64M", "--performance-schema=0",
		"--innodb-flush-log-at-trx-commit=" + flush,
	}
	return append(command, s.options.Args...), nil
}

func (m mariadb) run(ctx context.Context, s *Server, database string, words []string) (string, error) {
	program, err := m.find("mariadb", "mysql")
	if err != nil {
		return "", err
	}
	args := []string{"--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--port=" + strconv.Itoa(s.port),
		"--user=" + user, "--connect-timeout=5", "--batch", "--skip-column-names", "--database=" + cmp.Or(database, user), "--execute=" + strings.Join(words, ";")}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+s.Password())
	return output(cmd)
}

func (mariadb) probe() []string { return []string{"SELECT 1"} }

func (mariadb) url(s *Server, database string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, s.Password()), Host: s.Addr(), Path: "/" + cmp.Or(database, user)}
	return u.String()
}
