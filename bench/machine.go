package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine is what there is to know about where a run took place. Names of hosts
// and users are nobody's business.
type machine struct {
	System    string `json:"system"`
	Processor string `json:"processor,omitempty"`
	Cores     int    `json:"cores"`
	Memory    uint64 `json:"memoryBytes,omitempty"`
	Go        string `json:"go"`
}

func thisMachine() machine {
	return machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, Processor: field("/proc/cpuinfo", "model name"),
		Cores: runtime.NumCPU(), Memory: systemMemory("MemTotal"), Go: runtime.Version(),
	}
}

// String is the machine in one line.
func (m machine) String() string {
	out := fmt.Sprintf("%d cores", m.Cores)
	if m.Processor != "" {
		out += " (" + m.Processor + ")"
	}
	if m.Memory > 0 {
		out += fmt.Sprintf(", %.0f GB", float64(m.Memory)/(1<<30))
	}
	return out + ", " + m.System + ", " + m.Go
}

// field returns a value of a file of Linux's /proc with lines "name: value", or
// nothing.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if found, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(found) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// systemMemory returns the bytes that the system says in its field of that name, zero
// if it does not tell.
func systemMemory(name string) uint64 {
	kilobytes, err := strconv.ParseUint(strings.TrimSuffix(field("/proc/meminfo", name), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}
