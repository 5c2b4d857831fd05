package demo

// attack is one that visitors can run against the shop. Each has a file of its
// own, with its words and its steps.
type attack struct {
	Name  string // in its address
	Title string
	Brief string // what it is, in one sentence
	// What the thief does, how it goes elsewhere, and what is in his way here.
	Thief, Elsewhere, Defence string
	Controls                  []string // of the catalogue
	// What the verdict says when it was refused, and when it was not.
	Refused, Worked string
	// Own says that it is run against the visitor's own session, because that
	// does him no harm.
	Own bool
	// Database says that it takes access to the database.
	Database bool
	run      func(*run)
}

// attacks returns all of them, in the order of the pages.
func attacks() []*attack {
	return []*attack{
		fixation(),
		replay(),
		guessing(),
		forgery(),
		stolenDatabase(),
		tamperedRow(),
		lateRequest(),
		rotationRace(),
	}
}
