package redisstore

import (
	"crypto/sha1" // the engine names scripts by it
	"embed"
	"encoding/hex"
)

//go:embed lua
var lua embed.FS

// script is a server-side script. Each decides and writes in one step.
type script struct {
	text, sha string
	reads     bool // and changes nothing
}

type scripts struct {
	create, swap, touch, replace, settle, prolong script
	look, reserve, confirm, release, retire, mark script
	epoch                                         script
}

// newScripts reads the scripts, and puts in front of each the functions it needs.
func newScripts() (all scripts, err error) {
	for _, one := range []struct {
		*script
		name  string
		needs []string
	}{
		{&all.create, "create", []string{"keep"}},
		{&all.swap, "swap", []string{"times", "keep"}},
		{&all.touch, "touch", []string{"times"}},
		{&all.replace, "replace", []string{"keep"}},
		{&all.settle, "settle", []string{"keep"}},
		{&all.prolong, "prolong", []string{"keep"}},
		{&all.look, "look", nil},
		{&all.reserve, "reserve", []string{"keep"}},
		{&all.confirm, "confirm", nil},
		{&all.release, "release", nil},
		{&all.retire, "retire", []string{"keep"}},
		{&all.mark, "mark", []string{"keep"}},
		{&all.epoch, "epoch", []string{"keep"}},
	} {
		for _, name := range append(one.needs, one.name) {
			text, err := lua.ReadFile("lua/" + name + ".lua")
			if err != nil {
				return all, err
			}
			one.text += string(text)
		}
		sum := sha1.Sum([]byte(one.text))
		one.sha = hex.EncodeToString(sum[:])
	}
	all.look.reads = true
	return all, nil
}
