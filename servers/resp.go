package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// replyTime bounds a command where the context does not.
const replyTime = 10 * time.Second

// run sends one command on a connection of its own. Of an array it returns the
// elements as lines.
func (r redis) run(ctx context.Context, s *Server, _ string, words []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, replyTime)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	replies := bufio.NewReader(c)
	if r.role != sentinel {
		if _, err := command(c, replies, "AUTH", s.Password()); err != nil {
			return "", err
		}
	}
	return command(c, replies, words...)
}

// command writes a command and reads its reply.
func command(w io.Writer, r *bufio.Reader, words ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", err
	}
	return reply(r)
}

// reply reads a value of Redis's protocol, version 2.
func reply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < -1 {
		return "", fmt.Errorf("unexpected reply %q", line)
	}
	switch kind {
	case '$':
		if n == -1 {
			return "", nil
		}
		text := make([]byte, n+len("\r\n"))
		_, err := io.ReadFull(r, text)
		return string(text[:n]), err
	case '*':
		var lines []string
		for range n {
			element, err := reply(r)
			if err != nil {
				return "", err
			}
			lines = append(lines, element)
		}
		return strings.Join(lines, "\n"), nil
	}
	return "", fmt.Errorf("unexpected reply %q", line)
}
