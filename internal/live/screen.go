package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// draw runs the view on a terminal.
//
// The program is given no input: reading the keyboard is our own business
// (keyboard.go), because all that is wanted of it is Ctrl-C, and because a
// program that asks the terminal questions and changes its keyboard protocol
// has more to undo, in the moment in which there may be no time for it.
func draw(ctx context.Context, out *os.File, o Options) (err error) {
	m := &screen{
		o: o, start: time.Now(), trail: trail{window: recently},
		page: page{Ink: human.Ink{Color: o.Color}, title: o.Title, width: 80, height: 24},
	}
	profile := colorprofile.ANSI
	if !o.Color {
		profile = colorprofile.Ascii
	}
	p := tea.NewProgram(m, tea.WithOutput(out), tea.WithInput(nil), tea.WithoutSignalHandler(),
		tea.WithColorProfile(profile), tea.WithFPS(20))

	if o.In != nil {
		keys, err := listen(o.In, func() {
			if o.Interrupt != nil {
				o.Interrupt()
			}
			p.Send(interrupted{})
		})
		if err != nil {
			return fmt.Errorf("live view: read the keyboard: %w", err)
		}
		m.page.keys = keys != nil
		defer func() { err = errors.Join(err, keys.close()) }()
	}
	if o.Log != nil {
		wake := make(chan struct{}, 1)
		o.Log.hold(func() {
			select {
			case wake <- struct{}{}:
			default: // the view is told already
			}
		})
		defer func() {
			o.Log.release()
			close(wake)
		}()
		m.logged = wake
	}
	stop := context.AfterFunc(ctx, func() { p.Send(ended{}) })
	defer stop()
	defer m.close()
	if _, err := p.Run(); err != nil {
		return fmt.Errorf("live view: %w", err)
	}
	return nil
}

// screen is the view as a bubbletea model. All of it is touched by one
// goroutine, except what looking guards: commands run in their own.
type screen struct {
	o      Options
	start  time.Time
	trail  trail
	page   page
	logged <-chan struct{}
	// above are lines to be printed above the view; printing that some are on
	// their way there. The view goes when all have arrived.
	above    []string
	printing bool
	warned   int
	gone     bool

	looking sync.Mutex // held while o.Snapshot runs
	closed  bool
}

// Messages to the screen.
type (
	looked struct {
		at time.Duration
		s  Snapshot
	}
	due         struct{} // time to look again
	logLines    struct{} // the log has some
	printed     struct{}
	interrupted struct{}
	ended       struct{}
)

// Init implements tea.Model.
func (m *screen) Init() tea.Cmd { return tea.Batch(m.look, m.waitForLog()) }

func (m *screen) look() tea.Msg {
	m.looking.Lock()
	defer m.looking.Unlock()
	if m.closed {
		return nil
	}
	return looked{time.Since(m.start), m.o.Snapshot()}
}

// close waits for a look that is going on, and lets no other begin: when Run
// has returned, the owner may take down what Snapshot looks at.
func (m *screen) close() {
	m.looking.Lock()
	m.closed = true
	m.looking.Unlock()
}

func (m *screen) waitForLog() tea.Cmd {
	if m.logged == nil {
		return nil
	}
	return func() tea.Msg {
		if _, more := <-m.logged; !more {
			return nil
		}
		return logLines{}
	}
}

// Update implements tea.Model.
func (m *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.page.width, m.page.height = msg.Width, msg.Height
	case looked:
		m.trail.add(msg.at, msg.s)
		m.warn(msg.s)
		return m, tea.Batch(tea.Tick(poll, func(time.Time) tea.Msg { return due{} }), m.print())
	case due:
		return m, m.look
	case logLines:
		m.takeLog()
		return m, tea.Batch(m.waitForLog(), m.print())
	case printed:
		m.printing = false
		return m, m.print()
	case interrupted:
		m.page.interrupts++
	case ended:
		m.gone = true
		m.takeLog()
		return m, m.print()
	}
	return m, nil
}

// warn takes down the warnings that are new.
func (m *screen) warn(s Snapshot) {
	for ; m.warned < len(s.Warnings); m.warned++ {
		lead := m.page.Warn("! ")
		for _, l := range human.Wrap(s.Warnings[m.warned], max(20, m.page.width-2)) {
			m.above = append(m.above, lead+l)
			lead = "  "
		}
	}
}

func (m *screen) takeLog() {
	if m.o.Log == nil {
		return
	}
	if lines, ok := m.o.Log.take(); ok {
		m.above = append(m.above, lines)
	}
}

// print prints what there is, or quits when there is nothing more and the run
// has ended.
func (m *screen) print() tea.Cmd {
	switch {
	case m.printing:
		return nil
	case len(m.above) > 0:
		lines := strings.Join(m.above, "\n")
		m.above, m.printing = nil, true
		return tea.Sequence(tea.Println(lines), func() tea.Msg { return printed{} })
	case m.gone:
		return tea.Quit
	}
	return nil
}

// View implements tea.Model.
func (m *screen) View() tea.View {
	v := tea.View{DisableBracketedPasteMode: true}
	if !m.gone && len(m.trail.points) > 0 {
		v.Content = m.page.draw(&m.trail)
	}
	return v
}
