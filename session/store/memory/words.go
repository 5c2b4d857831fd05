package memory

import "encoding/binary"

// words keeps once what many records of a shard say: the user agents of browsers,
// and the terms under which sessions are had. A record holds the number of a
// word, or the word itself where there are too many to be kept: whoever sends a
// new user agent with every request makes his own sessions larger, and nothing
// else.
type words struct {
	numbers map[string]uint32 // :: text → number
	entries []word            // entry 0 is not used
	free    []uint32
}

type word struct {
	text  string
	users uint32 // occurrences in records
}

const (
	wordsMost = 512
	wordLeast = 4 // bytes; shorter ones take no more space than a number
)

// append appends the word to b.
func (w *words) append(b, text []byte) []byte {
	number, known := w.numbers[string(text)]
	if !known {
		if len(text) < wordLeast || len(w.numbers) >= wordsMost {
			return append(binary.AppendUvarint(b, uint64(len(text))<<1), text...)
		}
		number = w.add(string(text))
	}
	w.entries[number].users++
	return binary.AppendUvarint(b, uint64(number)<<1|1)
}

func (w *words) add(text string) (number uint32) {
	if n := len(w.free); n > 0 {
		number, w.free = w.free[n-1], w.free[:n-1]
	} else {
		if w.numbers == nil {
			w.numbers, w.entries = make(map[string]uint32), make([]word, 1, 4)
		}
		number = uint32(len(w.entries))
		w.entries = append(w.entries, word{})
	}
	w.entries[number], w.numbers[text] = word{text: text}, number
	return number
}

// read reads a word that is kept here, and skips one that is not.
func (w *words) read(d *reader) (text string) {
	v := d.uvarint()
	if v&1 == 0 {
		d.take(int(v >> 1))
		return ""
	}
	return w.entries[v>>1].text
}

// release takes back an occurrence.
func (w *words) release(d *reader) {
	v := d.uvarint()
	if v&1 == 0 {
		d.take(int(v >> 1))
		return
	}
	e := &w.entries[v>>1]
	if e.users--; e.users == 0 {
		delete(w.numbers, e.text)
		*e = word{}
		w.free = append(w.free, uint32(v>>1))
	}
}
