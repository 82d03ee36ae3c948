//go:build e2e

// Package e2e tests the built parts against real ones.
package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report/reporttest"
)

// browser starts Chromium and returns a context for its tabs.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("the report is tested in a real browser: %v; install it with apt-get install chromium", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return ctx
}

// tab opens a report in a tab of its own, and holds that it neither complains
// nor asks for anything but itself.
func tab(browser context.Context, t *testing.T, b *export.Bundle, width, height int64, scheme string) context.Context {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(file) // #nosec G304 -- a test's own folder
	if err != nil {
		t.Fatal(err)
	}
	if err := report.HTML(f, b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	here := (&url.URL{Scheme: "file", Path: file}).String()

	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var complaints []string
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	err = chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; u != here && !strings.HasPrefix(u, "data:") {
				complain("asked for %s", u)
			}
		case *runtime.EventExceptionThrown:
			complain("exception: %v", &chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails})
		case *runtime.EventConsoleAPICalled:
			complain("console %s: %v", e.Type, e.Args)
		case *cdplog.EventEntryAdded:
			complain("log: %s", e.Entry.Text) // violations of the security policy come here
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range complaints {
			t.Error(c)
		}
	})
	media := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media}); err != nil {
		t.Fatal(err)
	}
	do(ctx, t, chromedp.EmulateViewport(width, height), chromedp.Navigate(here), settle())
	return ctx
}

func do(ctx context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the browser has drawn what it was told to.
func settle() chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](
		`new Promise((ok) => requestAnimationFrame(() => requestAnimationFrame(ok)))`, chromedp.EvalAwaitPromise)
}

// get runs an action and returns its value.
func get[T any](ctx context.Context, t *testing.T, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func eval[T any](ctx context.Context, t *testing.T, script string) T {
	t.Helper()
	return get(ctx, t, chromedp.Evaluate[T](script))
}

// shoot saves a picture of the window, or of the whole page.
func shoot(ctx context.Context, t *testing.T, name string, whole bool) {
	t.Helper()
	do(ctx, t, settle())
	action := chromedp.CaptureScreenshot()
	if whole {
		action = chromedp.FullScreenshot(100)
	}
	picture := get(ctx, t, action)
	if len(picture) < 10_000 {
		t.Errorf("screenshot %s has only %d bytes", name, len(picture))
	}
	keep(t, name+".png", picture)
}

// keep writes a file for people to look at.
func keep(t *testing.T, name string, data []byte) {
	t.Helper()
	dir := os.Getenv("LOADTEST_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// painted counts, for every chart, the pixels that are not transparent, and
// the colours among them.
const painted = `[...document.querySelectorAll("[data-chart]")].map((figure) => {
	const c = figure.querySelector("canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
	const colours = new Set();
	let n = 0;
	for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 0) { n++; colours.add((d[i] << 16) + (d[i + 1] << 8) + d[i + 2]); }
	return { id: figure.dataset.chart, pixels: n, colours: colours.size };
})`

type chart struct {
	ID      string `json:"id"`
	Pixels  int    `json:"pixels"`
	Colours int    `json:"colours"`
}

func wantPainted(ctx context.Context, t *testing.T, want ...string) {
	t.Helper()
	var ids []string
	for _, c := range eval[[]chart](ctx, t, painted) {
		ids = append(ids, c.ID)
		if c.Pixels < 1000 || c.Colours < 4 {
			t.Errorf("chart %s is blank: %d pixels in %d colours", c.ID, c.Pixels, c.Colours)
		}
	}
	if strings.Join(ids, " ") != strings.Join(want, " ") {
		t.Errorf("charts are %v, want %v", ids, want)
	}
}

// overflowing lists the elements that stick out of the page to the right,
// leaving out what scrolls in a box of its own.
const overflowing = `(() => {
	const width = document.documentElement.clientWidth, out = [];
	if (document.documentElement.scrollWidth > width) out.push("the page scrolls to " + document.documentElement.scrollWidth);
	for (const e of document.querySelectorAll("body *")) {
		if (e.closest(".scroll table, nav, .tip, svg, script")) continue;
		const r = e.getBoundingClientRect();
		if (r.width > 0 && r.right > width + 0.5) out.push(e.tagName + "." + e.className + " ends at " + r.right);
	}
	return out;
})()`

var allCharts = []string{"e2e", "ttft", "requests", "tokens", "active", "errors-over-time", "e2e-spread", "ttft-spread", "itl-spread"}

func TestReportInChromium(t *testing.T) {
	b := browser(t)
	sample := reporttest.Sample()

	t.Run("light", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 1500, "light")
		wantPainted(ctx, t, allCharts...)
		shoot(ctx, t, "top-light", false)
		shoot(ctx, t, "page-light", true)
	})

	t.Run("dark", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 1500, "dark")
		wantPainted(ctx, t, allCharts...)
		if bg := background(ctx, t); bg != "rgb(19, 20, 22)" {
			t.Errorf("a reader who prefers dark sees %s", bg)
		}
		shoot(ctx, t, "page-dark", true)
	})

	t.Run("theme", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 900, "light")
		const pixels = `document.querySelector("canvas").toDataURL()`
		page, drawn := background(ctx, t), eval[string](ctx, t, pixels)
		do(ctx, t, chromedp.Click(chromedp.CSS("#theme")), settle())
		if now := background(ctx, t); now == page {
			t.Errorf("the button left the page at %s", now)
		}
		if eval[string](ctx, t, pixels) == drawn {
			t.Error("the button left the charts as they were")
		}
		do(ctx, t, chromedp.Click(chromedp.CSS("#theme")), settle())
		if now := background(ctx, t); now != page {
			t.Errorf("pressed again, the page is %s, want %s", now, page)
		}
		if eval[string](ctx, t, pixels) != drawn {
			t.Error("pressed again, the charts are not what they were")
		}
	})

	t.Run("hover", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 1500, "light")
		hover(ctx, t, "requests", 0.6)
		tip := eval[string](ctx, t, `document.querySelector(".tip:not([hidden])")?.innerText ?? ""`)
		for _, want := range []string{"req/s", "succeeded", "steady"} {
			if !strings.Contains(tip, want) {
				t.Errorf("the tooltip %q lacks %q", tip, want)
			}
		}
		shoot(ctx, t, "hover", false)
		cursors := eval[int](ctx, t, `[...document.querySelectorAll("#time .u-cursor-x")].filter((e) => !e.classList.contains("u-off") && e.style.transform.match(/translate\(\d\d/)).length`)
		if cursors != 6 {
			t.Errorf("%d of 6 charts over time show the cursor", cursors)
		}
		hover(ctx, t, "ttft-spread", 0.3)
		tip = eval[string](ctx, t, `document.querySelector(".tip:not([hidden])")?.innerText ?? ""`)
		if !strings.Contains(tip, "ms") || !strings.Contains(tip, "%") {
			t.Errorf("the tooltip of a distribution is %q", tip)
		}
		shoot(ctx, t, "hover-spread", false)
	})

	t.Run("keyboard", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 1500, "light")
		do(ctx, t, chromedp.Focus(chromedp.CSS(`[data-chart="e2e"] .plot`)), chromedp.KeyEvent(kb.ArrowRight), settle())
		tip := eval[string](ctx, t, `document.querySelector(".tip:not([hidden])")?.innerText ?? ""`)
		if !strings.HasPrefix(tip, "00:0") || !strings.Contains(tip, "p95") {
			t.Errorf("the arrow key shows %q", tip)
		}
	})

	t.Run("legend", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 900, "light")
		const pixels = `document.querySelector('[data-chart="requests"] canvas').toDataURL()`
		drawn := eval[string](ctx, t, pixels)
		do(ctx, t, chromedp.Click(chromedp.CSS(`[data-chart="requests"] .legend button`)), settle())
		if eval[string](ctx, t, pixels) == drawn {
			t.Error("hiding a series changes nothing")
		}
		do(ctx, t, chromedp.Click(chromedp.CSS(`[data-chart="requests"] .legend button`)), settle())
		if eval[string](ctx, t, pixels) != drawn {
			t.Error("showing it again does not restore the chart")
		}
		const e2e = `document.querySelector('[data-chart="e2e"] canvas').toDataURL()`
		drawn = eval[string](ctx, t, e2e)
		do(ctx, t, chromedp.Click(chromedp.CSS(`[data-chart="e2e"] .log`)), settle())
		if eval[string](ctx, t, e2e) == drawn {
			t.Error("the logarithmic scale changes nothing")
		}
		wantPainted(ctx, t, allCharts...)
		shoot(ctx, t, "log", false)
	})

	t.Run("sort", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 900, "light")
		const errors = `[...document.querySelectorAll("#orgs-table tbody tr")].map((r) => parseFloat(r.cells[3].innerText))`
		do(ctx, t, chromedp.Click(chromedp.CSS(`#orgs-table thead th:nth-child(4) button`)))
		down := eval[[]float64](ctx, t, errors)
		do(ctx, t, chromedp.Click(chromedp.CSS(`#orgs-table thead th:nth-child(4) button`)))
		up := eval[[]float64](ctx, t, errors)
		if len(down) != 3 || !(down[0] >= down[1] && down[1] >= down[2]) || !(up[0] <= up[1] && up[1] <= up[2]) || down[0] == down[2] {
			t.Errorf("error rates sorted down %v, up %v", down, up)
		}
	})

	for _, width := range []int64{380, 390, 768, 1600} {
		t.Run(fmt.Sprintf("%d wide", width), func(t *testing.T) {
			ctx := tab(b, t, sample, width, 900, "light")
			for _, e := range eval[[]string](ctx, t, overflowing) {
				t.Error(e)
			}
			wantPainted(ctx, t, allCharts...)
			shoot(ctx, t, fmt.Sprintf("page-%d", width), true)
		})
	}

	t.Run("print", func(t *testing.T) {
		ctx := tab(b, t, sample, 1280, 900, "dark")
		pdf := get(ctx, t, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFPrintBackground()))
		if len(pdf) < 20_000 {
			t.Errorf("the PDF has only %d bytes", len(pdf))
		}
		keep(t, "report.pdf", pdf)
		if bg := background(ctx, t); bg != "rgb(19, 20, 22)" {
			t.Errorf("after printing a dark page is %s", bg)
		}
	})

	t.Run("passed", func(t *testing.T) {
		ctx := tab(b, t, reporttest.Load{Orgs: []string{"acme", "globex", "initech"}, Users: 36, Scale: 1, Streams: 0.75}.Bundle(), 1280, 1500, "light")
		shoot(ctx, t, "passed", false)
	})

	t.Run("no streams", func(t *testing.T) {
		whole := reporttest.Load{Orgs: []string{"acme"}, Users: 6, Scale: 0.3, Unpriced: true}.Bundle()
		ctx := tab(b, t, whole, 1280, 1500, "light")
		ids := eval[[]string](ctx, t, `[...document.querySelectorAll("[data-chart]")].map((f) => f.dataset.chart)`)
		for _, id := range ids {
			if strings.HasPrefix(id, "ttft") || strings.HasPrefix(id, "itl") {
				t.Errorf("there is a chart %s without a stream", id)
			}
		}
		shoot(ctx, t, "no-streams", true)
	})

	t.Run("empty", func(t *testing.T) {
		ctx := tab(b, t, &export.Bundle{}, 1280, 1500, "light")
		wantPainted(ctx, t)
		shoot(ctx, t, "empty", true)
	})
}

func background(ctx context.Context, t *testing.T) string {
	t.Helper()
	return eval[string](ctx, t, `getComputedStyle(document.body).backgroundColor`)
}

// hover moves the pointer to a part of a chart's width.
func hover(ctx context.Context, t *testing.T, id string, part float64) {
	t.Helper()
	at := eval[[2]float64](ctx, t, fmt.Sprintf(`(() => {
		const over = document.querySelector('[data-chart="%s"] .u-over');
		over.scrollIntoView({ block: "center", behavior: "instant" });
		const r = over.getBoundingClientRect();
		return [r.left + r.width * %g, r.top + r.height / 2];
	})()`, id, part))
	do(ctx, t, settle(), chromedp.MouseEvent("mouseMoved", at[0]-3, at[1]), settle(), chromedp.MouseEvent("mouseMoved", at[0], at[1]), settle())
}
