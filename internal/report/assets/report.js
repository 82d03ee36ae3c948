"use strict";
// Draws the charts of the report, sorts its tables and switches its colours.
// The data is in #chart-data; charts.go describes it.
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const root = document.documentElement;
  const figures = [];

  // Colours are the page's CSS variables, resolved by the browser, since a
  // canvas does not know them.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  let palette = new Map();
  function color(name, alpha) {
    if (!palette.has(name)) {
      probe.style.color = `var(--${name})`;
      palette.set(name, getComputedStyle(probe).color);
    }
    const c = palette.get(name);
    return alpha === undefined ? c : c.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*/, `rgba($1,$2,$3,${alpha})`);
  }
  const font = (size) => `${size}px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif`;

  // Numbers, as the tables write them.
  const figures3 = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const num = (v) => (Math.abs(v) >= 1000 ? whole : figures3).format(v);
  const show = {
    "ms": (v) => v >= 999.5 ? `${num(v / 1000)} s` : v >= 0.9995 || v === 0 ? `${num(v)} ms` : `${num(v * 1000)} µs`,
    "req/s": (v) => `${num(v)} req/s`,
    "tok/s": (v) => `${num(v)} tok/s`,
    "%": (v) => `${num(v)}%`,
    "users": (v) => `${num(v)} user${v === 1 ? "" : "s"}`,
  };
  const tick = { ...show, "req/s": num, "tok/s": num, "users": num };
  const pad = (n) => String(n).padStart(2, "0");
  function elapsed(t) {
    const s = Math.floor(t), h = Math.floor(s / 3600);
    return h > 0 ? `${h}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}` : `${pad(Math.floor(s / 60))}:${pad(s % 60)}`;
  }
  const wall = (t) => new Date(data.started + (t + data.utcOffset) * 1000).toISOString().slice(11, 19);
  const phaseAt = (t) => data.phases.find((p) => t >= p.start && t < p.end);

  // The tooltip, one for the page.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  function element(tag, text) {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    return e;
  }
  function fillTip(u, heading, rows) {
    tip.replaceChildren(element("b", heading));
    for (const [name, label, value] of rows) {
      const row = element("div"), swatch = element("i");
      swatch.style.background = name ? `var(--${name})` : "none";
      row.append(swatch, element("span", label), element("em", value));
      tip.append(row);
    }
    tip.hidden = false;
    const over = u.over.getBoundingClientRect(), x = over.left + u.cursor.left;
    let left = x + 14;
    if (left + tip.offsetWidth > root.clientWidth - 8) left = x - 14 - tip.offsetWidth;
    left = Math.max(8, left);
    const top = Math.min(Math.max(0, over.top + 8), innerHeight - tip.offsetHeight - 8);
    tip.style.transform = `translate(${Math.round(left + scrollX)}px, ${Math.round(top + scrollY)}px)`;
  }

  const axis = (extra) => ({
    stroke: () => color("soft"), font: font(12), gap: 6,
    grid: { stroke: () => color("grid"), width: 1 },
    ticks: { show: false },
    ...extra,
  });
  // write keeps words legible upon whatever is drawn beneath them.
  function write(ctx, words, x, y, ink) {
    ctx.lineWidth = 4 * uPlot.pxRatio;
    ctx.lineJoin = "round";
    ctx.strokeStyle = color("panel");
    ctx.strokeText(words, x, y);
    ctx.fillStyle = color(ink);
    ctx.fillText(words, x, y);
  }
  // promise draws a limit across a chart over time, with its words above it.
  function promise(u, limit) {
    const { ctx, bbox } = u, px = uPlot.pxRatio, y = u.valToPos(limit.value, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) return;
    ctx.save();
    ctx.strokeStyle = color("bad");
    ctx.lineWidth = px;
    ctx.setLineDash([5 * px, 4 * px]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = font(11 * px);
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.setLineDash([]);
    write(ctx, limit.label, bbox.left + 4 * px, y - 2 * px, "bad");
    ctx.restore();
  }

  // ---- over time

  const hatch = new Map(); // by colour
  function hatching(ctx) {
    const c = color("hatch"), px = uPlot.pxRatio, key = c + px;
    if (!hatch.has(key)) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 8 * px;
      const t = tile.getContext("2d");
      t.strokeStyle = c;
      t.lineWidth = 2 * px;
      for (const o of [-8, 0, 8]) {
        t.moveTo(o * px - px, 9 * px);
        t.lineTo(o * px + 9 * px, -px);
      }
      t.stroke();
      hatch.set(key, ctx.createPattern(tile, "repeat"));
    }
    return hatch.get(key);
  }
  function drawPhases(u) {
    const { ctx, bbox } = u, px = uPlot.pxRatio, right = bbox.left + bbox.width;
    ctx.save();
    for (const p of data.phases) {
      const x0 = Math.max(bbox.left, u.valToPos(p.start, "x", true)), x1 = Math.min(right, u.valToPos(p.end, "x", true));
      if (x1 <= x0) continue;
      if (!p.measured) {
        ctx.fillStyle = hatching(ctx);
        ctx.fillRect(x0, bbox.top, x1 - x0, bbox.height);
      }
      ctx.fillStyle = color("line");
      if (x0 > bbox.left) ctx.fillRect(Math.round(x0), bbox.top - 14 * px, px, bbox.height + 14 * px);
      ctx.font = font(11 * px);
      ctx.fillStyle = color("soft");
      ctx.textAlign = "left";
      ctx.textBaseline = "alphabetic";
      let name = p.name;
      const room = x1 - x0 - 8 * px;
      if (ctx.measureText(name).width > room) {
        while (name && ctx.measureText(name + "…").width > room) name = name.slice(0, -1);
        name = name.length > 2 ? name + "…" : "";
      }
      ctx.fillText(name, x0 + 5 * px, bbox.top - 5 * px);
    }
    ctx.restore();
  }

  // stacked replaces each shown column by the sum of itself and those before
  // it; they are drawn from the last to the first, each over the one behind.
  function stacked(columns, shown) {
    const sum = columns[0].map(() => 0);
    return columns.map((c, k) => c.map((v, i) => {
      if (!shown[k]) return null;
      sum[i] += v === null ? NaN : v;
      // Nothing is not drawn along the edge of the column beneath.
      const nothing = k > 0 && !c[i - 1] && !v && !c[i + 1];
      return nothing || Number.isNaN(sum[i]) ? null : sum[i];
    }));
  }

  function timeChart(fig, spec) {
    const mount = fig.querySelector(".plot"), legend = fig.querySelector(".legend"), logButton = fig.querySelector(".log");
    const n = spec.series[0].values.length, end = n * data.interval;
    const stack = spec.style === "stack", order = spec.series.map((_, i) => i);
    if (stack) order.reverse(); // the whole stack lies behind
    const shown = spec.series.map(() => true);
    // An empty point before the first interval and after the last makes the
    // axis the whole run, even if it has but one interval.
    const framed = spec.series.map((s) => [null, ...s.values, null]);
    const x = [0, ...spec.series[0].values.map((_, i) => (i + 0.5) * data.interval), end];
    if (spec.style === "step") for (let i = 1; i <= n; i++) x[i] = (i - 1) * data.interval;
    if (spec.style === "step") { x.shift(); framed.forEach((c) => { c.shift(); c[n] = c[n - 1]; }); }
    const first = spec.style === "step" ? 0 : 1;
    let log = false, u;

    const columns = () => {
      const y = stack ? stacked(framed, shown) : framed;
      return [x, ...order.map((i) => y[i])];
    };
    const raw = (k, i) => framed[k][i];

    function options(width) {
      return {
        width, height: 220, padding: [data.phases.length ? 20 : 8, 20, 0, 0],
        legend: { show: false },
        cursor: {
          y: false, points: { size: 7, width: 1.5, stroke: (u, i) => color(spec.series[order[i - 1]].color), fill: () => color("panel") },
          sync: { key: "time", setSeries: false, scales: ["x", null] },
          drag: { x: true, y: false, dist: 6 },
          dataIdx: (u, s, i) => Math.min(Math.max(i, first), first + n - 1),
        },
        scales: {
          x: { time: false },
          y: log
            ? { distr: 3, range: (u, lo, hi) => lo > 0 ? uPlot.rangeLog(lo, hi, 10, false) : [1, 10] }
            : { range: (u, lo, hi) => {
                const seen = (spec.limits || []).map((l) => l.value).filter((v) => v < 2 * hi);
                return [0, Math.max(hi * 1.06, ...seen.map((v) => v * 1.15)) || 1];
              } },
        },
        axes: [
          axis({
            size: 26, space: 62, grid: { show: false },
            incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400],
            values: (u, ts) => ts.map(elapsed),
          }),
          axis({ size: 62, space: 34, values: (u, vs) => vs.map((v) => v === null ? "" : tick[spec.unit](v)) }),
        ],
        series: [{}, ...order.map((k) => {
          const s = spec.series[k], many = spec.series.length > 1;
          return {
            label: s.label, show: shown[k], width: spec.style === "line" ? 1.75 : 1.25,
            stroke: () => color(s.color),
            fill: spec.style === "line" ? undefined : () => stack && many ? color(s.color) : color(s.color, 0.22),
            paths: spec.style === "step" ? uPlot.paths.stepped({ align: 1 }) : undefined,
            points: { size: 4, fill: () => color(s.color) },
          };
        })],
        hooks: {
          drawClear: [drawPhases],
          draw: [(u) => (spec.limits || []).forEach((l) => promise(u, l))],
          setCursor: [(u) => {
            if (u.cursor.left < 0 || u.cursor.idx === null) {
              if (tip.owner === u) tip.hidden = true;
              return;
            }
            if (active !== u) return; // moved by another chart
            const i = Math.min(Math.max(u.cursor.idx, first), first + n - 1), from = (i - first) * data.interval;
            const phase = phaseAt(from);
            let heading = `${elapsed(from)} · ${wall(from)}`;
            if (phase) heading += ` · ${phase.name}${phase.measured ? "" : ", not measured"}`;
            tip.owner = u;
            fillTip(u, heading, spec.series.map((s, k) => [s.color, s.label, raw(k, i) === null ? "–" : show[spec.unit](raw(k, i))]).reverse());
          }],
        },
      };
    }
    function build() {
      if (u) u.destroy();
      u = new uPlot(options(mount.clientWidth), columns(), mount);
      watch(u);
    }
    spec.series.forEach((s, k) => {
      const b = element("button"), swatch = element("i");
      b.type = "button";
      b.setAttribute("aria-pressed", "true");
      swatch.style.background = `var(--${s.color})`;
      if (spec.style !== "line") swatch.className = "area";
      b.append(swatch, s.label);
      b.onclick = () => {
        shown[k] = !shown[k];
        b.setAttribute("aria-pressed", shown[k]);
        if (stack) u.setData(columns(), false);
        u.setSeries(order.indexOf(k) + 1, { show: shown[k] });
      };
      if (spec.series.length > 1) legend.append(b);
    });
    if (logButton) logButton.onclick = () => {
      log = !log;
      logButton.setAttribute("aria-pressed", log);
      build();
    };
    build();
    keys(mount, () => u, first, first + n - 1);
    return { mount, get plot() { return u; } };
  }

  // ---- distributions

  // logTicks picks round numbers of a logarithmic axis, as dense as fits.
  function logTicks(lo, hi, width) {
    const range = (step) => Array.from({ length: Math.round(9 / step) }, (_, i) => 1 + i * step);
    for (const parts of [range(0.01), range(0.1), range(0.5), [1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      const ticks = [];
      for (let e = Math.floor(lo); e <= hi; e++) {
        for (const p of parts) {
          const v = e + Math.log10(p);
          if (v >= lo && v <= hi) ticks.push(v);
        }
      }
      if (ticks.every((t, i) => i === 0 || (t - ticks[i - 1]) / (hi - lo) * width >= 54)) return ticks;
    }
    return [lo];
  }

  function distChart(fig, spec) {
    const mount = fig.querySelector(".plot"), n = spec.share.length;
    const centre = (i) => spec.low + (i + 0.5) * spec.step;
    // One empty bin on each side.
    const x = Array.from({ length: n + 2 }, (_, i) => centre(i - 1)), y = [null, ...spec.share, null];
    const below = [];
    spec.share.reduce((sum, v, i) => (below[i] = sum + (v || 0)), 0);
    // Room for every label above the bars, the same in all distributions.
    const line = 14, rows = Math.max(...data.dist.map((d) => d.marks.length + (d.limits || []).length));
    const marks = [
      ...spec.marks.map((m) => ({ ...m, color: m.label.slice(0, 3) })),
      ...(spec.limits || []).map((m) => ({ ...m, color: "bad", dashed: true })),
    ].sort((a, b) => a.value - b.value);
    const u = new uPlot({
      width: mount.clientWidth, height: 170 + line * rows, padding: [line * rows + 4, 20, 0, 0],
      legend: { show: false },
      cursor: {
        y: false, points: { show: false }, drag: { x: false, y: false },
        dataIdx: (u, s, i) => Math.min(Math.max(i, 1), n),
      },
      scales: { x: { time: false }, y: { range: (u, lo, hi) => [0, hi * 1.04 || 1] } },
      axes: [
        axis({
          size: 26, grid: { show: false },
          splits: (u, i, lo, hi) => logTicks(lo, hi, u.bbox.width / uPlot.pxRatio),
          values: (u, vs) => vs.map((v) => show.ms(10 ** v)),
        }),
        axis({ size: 44, space: 34, values: (u, vs) => vs.map(show["%"]) }),
      ],
      series: [{}, {
        stroke: () => color("p50"), width: 1, fill: () => color("p50"),
        paths: uPlot.paths.bars({ size: [1, Infinity], gap: 1 }), points: { show: false },
      }],
      hooks: {
        draw: [(u) => {
          const { ctx, bbox } = u, px = uPlot.pxRatio, right = bbox.left + bbox.width, placed = [];
          ctx.save();
          ctx.font = font(11 * px);
          ctx.textAlign = "left";
          ctx.textBaseline = "alphabetic";
          for (const m of marks) {
            const at = u.valToPos(Math.log10(m.value), "x", true);
            if (at < bbox.left - px || at > right + px) continue;
            // A label stands beside its line. Where an earlier one reaches over
            // it, the line starts beneath that one.
            const width = ctx.measureText(m.label).width, fits = at + 5 * px + width <= right + 12 * px;
            const left = fits ? at + 5 * px : at - 5 * px - width;
            const row = placed.reduce((r, p) => p.end + 6 * px > Math.min(at, left) ? Math.max(r, p.row + 1) : r, 0);
            const base = bbox.top - (line * (rows - row) - 9) * px, bottom = bbox.top + bbox.height;
            placed.push({ end: left + width, row, left, base, m });
            ctx.strokeStyle = color(m.color);
            ctx.lineWidth = 1.5 * px;
            ctx.setLineDash(m.dashed ? [5 * px, 4 * px] : []);
            ctx.beginPath();
            ctx.moveTo(at, base - 9 * px);
            ctx.lineTo(at, bottom);
            ctx.stroke();
          }
          ctx.setLineDash([]);
          for (const { m, left, base } of placed) write(ctx, m.label, left, base, m.dashed ? "bad" : "ink");
          ctx.restore();
        }],
        setCursor: [(u) => {
          if (u.cursor.left < 0 || active !== u) {
            if (tip.owner === u) tip.hidden = true;
            return;
          }
          const i = Math.min(Math.max(u.cursor.idx, 1), n) - 1, lo = spec.low + i * spec.step;
          tip.owner = u;
          fillTip(u, `${show.ms(10 ** lo)} to ${show.ms(10 ** (lo + spec.step))}`, [
            ["p50", "in this bin", show["%"](spec.share[i] || 0)],
            ["", "up to here", show["%"](Math.min(100, below[i]))],
          ]);
        }],
      },
    }, [x, y], mount);
    watch(u);
    keys(mount, () => u, 1, n);
    return { mount, get plot() { return u; } };
  }

  // ---- both

  // The chart under the pointer, or with the focus, owns the tooltip.
  let active = null;
  function watch(u) {
    u.over.addEventListener("mouseenter", () => { active = u; });
    u.over.addEventListener("mouseleave", () => { tip.hidden = true; });
  }
  // keys lets the arrow keys move the cursor of a focused chart.
  function keys(mount, plot, lowest, highest) {
    let i = lowest;
    mount.addEventListener("keydown", (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (e.key === "Escape") tip.hidden = true;
      if (!step) return;
      e.preventDefault();
      const u = plot();
      i = Math.min(Math.max((tip.hidden ? i - step : i) + step, lowest), highest);
      active = u;
      u.syncRect();
      u.setCursor({ left: u.valToPos(u.data[0][i], "x"), top: u.over.clientHeight / 2 });
    });
    mount.addEventListener("blur", () => { tip.hidden = true; });
  }

  const fit = () => figures.forEach(({ mount, plot }) => {
    if (mount.clientWidth > 0 && mount.clientWidth !== plot.width) plot.setSize({ width: mount.clientWidth, height: plot.height });
  });
  const repaint = () => {
    palette = new Map();
    figures.forEach(({ plot }) => plot.redraw(false, true));
  };

  for (const fig of document.querySelectorAll("[data-chart]")) {
    const id = fig.dataset.chart, time = data.time.find((c) => c.id === id), dist = data.dist.find((c) => c.id === id);
    if (time) figures.push(timeChart(fig, time));
    if (dist) figures.push(distChart(fig, dist));
  }
  const observer = new ResizeObserver(fit);
  figures.forEach(({ mount }) => observer.observe(mount));

  // ---- light and dark

  const system = matchMedia("(prefers-color-scheme: dark)"), button = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  function label() {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`);
  }
  button.hidden = false;
  button.onclick = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    label();
    repaint();
  };
  system.addEventListener("change", () => { label(); repaint(); });
  label();

  // On paper the page is light and narrow. The print styles do not hold yet
  // when beforeprint fires, so the charts get the width of their columns on a
  // usual sheet; report.css fits them to the real one.
  addEventListener("beforeprint", () => {
    root.dataset.before = root.dataset.theme || "";
    root.dataset.theme = "light";
    palette = new Map();
    figures.forEach(({ mount, plot }) => plot.setSize({ width: mount.closest(".three") ? 270 : 430, height: plot.height }));
  });
  addEventListener("afterprint", () => {
    if (root.dataset.before) root.dataset.theme = root.dataset.before;
    else delete root.dataset.theme;
    repaint();
    fit();
  });

  // ---- sorting

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((th, col) => {
      th.querySelector("button").onclick = () => {
        const was = th.getAttribute("aria-sort"), numeric = th.classList.contains("num");
        const up = was ? was === "descending" : !numeric; // numbers begin with the largest
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        th.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => {
          const c = row.cells[col];
          return c.dataset.v !== undefined ? Number(c.dataset.v) : c.classList.contains("none") ? null : c.textContent;
        };
        const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null); // the unknown last
          const c = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
          return up ? c : -c;
        });
        table.tBodies[0].append(...rows.map(([, row]) => row));
      };
    });
  }
})();
