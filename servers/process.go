package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running server program and the processes it has begun.
type process struct {
	pid int
	// done is closed when the program has ended and its state was collected.
	done chan struct{}
}

// apply makes the command run as the account, in a process group of its own,
// so that an interrupt of the terminal leaves the end to the watchdog.
func (a *account) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
}

// launch starts a program whose output goes to the log file.
func launch(command []string, dir, log string, a *account) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	a.apply(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the program and its children and waits until they are gone: a
// database refuses to start while one of them is left.
func (p *process) kill() {
	if !p.running() {
		return
	}
	syscall.Kill(p.pid, syscall.SIGSTOP) // no more children
	all, _ := children(p.pid)
	for _, pid := range append(all, p.pid) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
	for _, pid := range all {
		for alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
}

func (p *process) freeze() error {
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	return p.each(syscall.SIGSTOP)
}

func (p *process) thaw() error {
	if err := p.each(syscall.SIGCONT); err != nil {
		return err
	}
	return syscall.Kill(p.pid, syscall.SIGCONT)
}

// each sends a signal to every child.
func (p *process) each(signal syscall.Signal) error {
	all, err := children(p.pid)
	if err != nil {
		return err
	}
	for _, pid := range all {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// alive reports whether a process is there and not just waiting to be collected.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	state, _, ok := stat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return !ok || state != "Z"
}

// children returns the processes that a process has started and that run. The
// groups of processes do not tell: PostgreSQL's children have each their own.
func children(parent int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return childrenByPgrep(parent)
	}
	var all []int
	for _, file := range files {
		if state, ppid, ok := stat(file); ok && ppid == parent && state != "Z" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				return nil, err
			}
			all = append(all, pid)
		}
	}
	return all, nil
}

// stat returns the state and the parent of a process from its file under /proc.
func stat(file string) (state string, parent int, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", 0, false
	}
	// The name in brackets may hold anything; what follows it may not.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}

func childrenByPgrep(parent int) (all []int, err error) {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(parent)).Output()
	var failed *exec.ExitError
	if err != nil && !(errors.As(err, &failed) && failed.ExitCode() == 1) { // 1: no children
		return nil, fmt.Errorf("looking for the server's processes: %w", err)
	}
	for _, word := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		all = append(all, pid)
	}
	return all, nil
}

// watchdogScript waits until nobody can write to its input any more, which is when
// it is closed or the process that holds it ends, however that happens. Then it
// ends the process it was told last, and that one's children, and removes the
// folder. PostgreSQL says in postmaster.pid which shared memory it has; killed, it
// leaves it behind.
const watchdogScript = `
trap '' INT TERM HUP QUIT PIPE
PATH=$PATH:/usr/bin:/bin:/usr/sbin:/sbin
dir=$1 goodbye=$2 pid=
while read -r line; do pid=$line; done
children() {
	if [ -e /proc/self/stat ]; then
		for file in /proc/[0-9]*/stat; do
			{ read -r child name state parent rest <"$file"; } 2>/dev/null || continue
			[ "$parent" != "$pid" ] || echo "$child"
		done
	else
		pgrep -P "$pid"
	fi
}
running() {
	kill -0 "$pid" 2>/dev/null || return 1
	[ ! -e "/proc/$pid/stat" ] || { read -r child name state rest <"/proc/$pid/stat"; } 2>/dev/null && [ "$state" != Z ]
}
memory=
if [ -e "$dir/data/postmaster.pid" ]; then
	memory=$(sed -n '7s/^ *[0-9]* *//p' "$dir/data/postmaster.pid")
fi
if [ -n "$pid" ] && running; then
	for child in $(children); do kill -CONT "$child" 2>/dev/null; done
	kill -CONT "$pid" 2>/dev/null
	kill "-$goodbye" "$pid" 2>/dev/null
	tries=0
	while running && [ $tries -lt 50 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	if running; then
		kill -STOP "$pid" 2>/dev/null
		kill -KILL $(children) "$pid" 2>/dev/null
	fi
fi
if [ -n "$memory" ] && command -v ipcrm >/dev/null; then
	ipcrm -m "$memory" 2>/dev/null
fi
tries=0
until rm -rf -- "$dir" 2>/dev/null || [ $tries -ge 50 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
[ ! -e "$dir" ] || { echo "cannot remove $dir" >&2; exit 1; }
`

// watchdog is a process that cleans up after a server when this process closes it
// or ends.
type watchdog struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output bytes.Buffer
}

func guard(dir, goodbye string) (*watchdog, error) {
	w := &watchdog{cmd: exec.Command("/bin/sh", "-c", watchdogScript, "sh", dir, goodbye)}
	w.cmd.Dir = "/"
	w.cmd.Stderr = &w.output
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if w.input, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the watchdog of a server: %w", err)
	}
	return w, nil
}

// watch tells which process to end.
func (w *watchdog) watch(pid int) error {
	if _, err := fmt.Fprintln(w.input, pid); err != nil {
		return fmt.Errorf("telling the watchdog of a server: %w", err)
	}
	return nil
}

// close has the watchdog do its work and returns when it has.
func (w *watchdog) close() error {
	w.input.Close()
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("cleaning up after a server: %w: %s", err, w.output.String())
	}
	return nil
}
