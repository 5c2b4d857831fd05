package servers_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cloakroom.example/servers"
)

// endingVariable tells a copy of this test program how to end.
const endingVariable = "CLOAKROOM_SERVERS_ENDING"

func TestMain(m *testing.M) {
	if ending := os.Getenv(endingVariable); ending != "" {
		startAndEnd(ending)
	}
	os.Exit(m.Run())
}

// startAndEnd starts a server of each engine, prints where they are, and ends
// without closing them.
func startAndEnd(ending string) {
	var all []*servers.Server
	for _, e := range engines() {
		s, err := e.start(context.Background(), servers.Options{Unsynced: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Folder(), s.Addr())
		all = append(all, s)
	}
	fmt.Println("started")
	switch ending {
	case "panic":
		panic("the end")
	case "frozen":
		for _, s := range all {
			s.Freeze()
		}
		fmt.Println("frozen") // to be killed now
	}
	time.Sleep(time.Hour) // until it is killed
}

func TestNothingOutlivesItsProcess(t *testing.T) {
	for _, ending := range []string{"panic", "frozen"} {
		t.Run(ending, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), endingVariable+"="+ending)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				cmd.Process.Kill()
				cmd.Wait()
			}()
			last := "started"
			if ending == "frozen" {
				last = "frozen"
			}
			var lines []string
			for scanner := bufio.NewScanner(out); scanner.Scan() && scanner.Text() != last; {
				lines = append(lines, scanner.Text())
			}
			if len(lines) < len(engines()) {
				t.Fatalf("got %q, want a line for each server", lines)
			}
			if ending != "panic" {
				cmd.Process.Kill()
			}
			cmd.Wait()
			for _, line := range lines {
				if dir, addr, ok := strings.Cut(line, " "); ok {
					nothingLeft(t, dir, addr)
				}
			}
		})
	}
}
