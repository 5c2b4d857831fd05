package demo

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// qrCode is a QR code as the page draws it, in an SVG element of its own: that
// needs neither a picture with the secret under an address of its own, nor
// inline code, which our policy forbids.
type qrCode struct {
	Size int    // modules on each side, without the quiet zone
	Path string // of the dark ones
}

// newQRCode draws a text.
func newQRCode(text string) (qrCode, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return qrCode{}, fmt.Errorf("drawing QR code: %w", err)
	}
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := range size {
			if code.At(x, y) == color.Black {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	return qrCode{Size: size, Path: path.String()}, nil
}

// Frame returns the view of the drawing, with the quiet zone that readers need.
func (c qrCode) Frame() string { return fmt.Sprintf("-4 -4 %d %d", c.Size+8, c.Size+8) }
