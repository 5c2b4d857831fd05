package browser

import (
	"bytes"
	"image/png"
	"net/url"

	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// scanned returns the secret in the QR code that the page shows, as a camera sees
// it: by night, when the drawing must not be white on black.
func (tb *tab) scanned() string {
	tb.t.Helper()
	shot, err := chromedp.Run(tb.ctx, chromedp.Screenshot(chromedp.CSS(".qr"), chromedp.NodeVisible))
	if err != nil {
		tb.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		tb.t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		tb.t.Fatal(err)
	}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		tb.t.Fatalf("reading the QR code: %v", err)
	}
	u, err := url.Parse(read.GetText())
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Query().Get("issuer") == "" {
		tb.t.Errorf("the QR code says %q, %v; want the address of a TOTP secret", read.GetText(), err)
	}
	return u.Query().Get("secret")
}
