package sqlstore

// pushAll stands for every handle of a namespace.
const pushAll = "*"

// changed implements tx.
func (c *connection) changed(namespace string, handles ...string) {
	if c.pushes != nil {
		c.pushes[namespace] = append(c.pushes[namespace], handles...)
	}
}
