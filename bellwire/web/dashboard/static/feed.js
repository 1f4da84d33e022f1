// The live feed. The server sends whole rows; here they are put in place: known ones are swapped where they stand, new
// ones go to the top, or wait while somebody reads (Pause pressed, or a row open), so that nothing moves under the eye.
(() => {
  const MAX_ROWS = 500;
  const SAY_EVERY_MS = 5000;
  const feed = document.getElementById("feed");
  const head = document.getElementById("feed-head");
  const table = document.getElementById("feed-table");
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const pill = document.getElementById("held");
  const summary = document.getElementById("feed-summary");

  let source = null;
  let lastId = "";
  let connected = false;
  let held = []; // tbody elements that wait, newest first
  let refresh = []; // toggles of open rows whose delivery changed
  const unsaid = { rows: 0, failed: 0 };

  const isOpen = (toggle) => toggle?.getAttribute("aria-expanded") === "true";
  const paused = () => pause.getAttribute("aria-pressed") === "true";
  const holding = () => paused() || table.querySelector('.toggle[aria-expanded="true"]') !== null;

  // The SSE extension asks this for its connections. The address carries the last id, since a new EventSource, unlike
  // one that reconnects by itself, sends none.
  htmx.createEventSource = (url) => {
    const address = new URL(url, location.href);
    if (lastId) address.searchParams.set("after", lastId);
    source = new EventSource(address);
    return source;
  };

  function place(text) {
    const box = document.createElement("template");
    box.innerHTML = text;
    const out = [];
    for (const body of [...box.content.children]) {
      unsaid.rows += 1;
      if (body.dataset.status === "failed") unsaid.failed += 1;
      const known = document.getElementById(body.id);
      if (known) {
        out.push(update(known, body));
        continue;
      }
      if ("updateOnly" in body.dataset) continue;
      body.querySelector(".row").classList.add("arrived");
      const waiting = held.findIndex((one) => one.id === body.id);
      if (waiting >= 0) held.splice(waiting, 1);
      if (holding()) held.unshift(document.importNode(body, true));
      else out.push(body.outerHTML);
    }
    held.length = Math.min(held.length, MAX_ROWS);
    return out.join("");
  }

  function update(known, body) {
    known.dataset.attempt = body.dataset.attempt;
    known.dataset.status = body.dataset.status;
    const row = body.querySelector(".row");
    row.setAttribute("hx-swap-oob", "true");
    if (isOpen(known.querySelector(".toggle"))) {
      row.querySelector(".toggle").setAttribute("aria-expanded", "true");
      refresh.push(row.querySelector(".toggle").id);
    }
    return row.outerHTML;
  }

  htmx.defineExtension("feed", {
    transformResponse: (text, xhr) => (xhr === null ? place(text) : text),
  });

  function release() {
    const rows = held;
    held = [];
    head.after(...rows);
    for (const row of rows) htmx.process(row);
    settle();
  }

  function settle() {
    if (!holding() && held.length) return release();
    document.getElementById("feed-empty")?.remove();
    pill.hidden = held.length === 0;
    pill.textContent = `${held.length} new`;
    pill.title = paused() ? "Show them and go on" : "Close the open row and show them";
    trim();
    showState();
  }

  // Rows beyond the limit go, oldest first; 'older' then starts where the table now ends.
  function trim() {
    const rows = table.querySelectorAll("tbody.delivery");
    if (rows.length <= MAX_ROWS) return;
    for (const row of [...rows].slice(MAX_ROWS)) {
      if (!isOpen(row.querySelector(".toggle"))) row.remove();
    }
    const more = document.querySelector("#feed-end button");
    const last = rows[MAX_ROWS - 1].dataset.attempt;
    if (!more || !last) return;
    const address = new URL(more.getAttribute("hx-get"), location.href);
    address.searchParams.set("before", last);
    const fresh = more.cloneNode(true);
    fresh.setAttribute("hx-get", address.pathname + address.search);
    more.replaceWith(fresh);
    htmx.process(fresh);
  }

  function showState() {
    const state = !connected ? "lost" : holding() ? "held" : "live";
    live.dataset.state = state;
    live.querySelector("[data-live-word]").textContent =
      { lost: "Reconnecting", held: paused() ? "Paused" : "Holding new rows", live: "Live" }[state];
    pause.textContent = paused() ? "Resume" : "Pause";
  }

  function open(toggle, yes) {
    toggle.setAttribute("aria-expanded", String(yes));
    const detail = document.getElementById(toggle.getAttribute("aria-controls"));
    detail.hidden = !yes;
    if (yes) load(toggle);
    settle();
  }

  function load(toggle) {
    const body = document.querySelector(`#${CSS.escape(toggle.getAttribute("aria-controls"))} .detail-body`);
    htmx.ajax("GET", toggle.dataset.url, { source: toggle, target: body, swap: "innerHTML" });
  }

  feed.addEventListener("click", (event) => {
    const row = event.target.closest("tr.row");
    if (!row) return;
    const toggle = row.querySelector(".toggle");
    const other = event.target.closest("a, button");
    if (other && other !== toggle) return;
    if (!other && !getSelection().isCollapsed) return;
    open(toggle, !isOpen(toggle));
  });

  feed.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const toggle = event.target.closest("tbody.delivery")?.querySelector(".toggle");
    if (!isOpen(toggle)) return;
    open(toggle, false);
    toggle.focus();
  });

  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    settle();
  });

  pill.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", "false");
    for (const toggle of table.querySelectorAll('.toggle[aria-expanded="true"]')) open(toggle, false);
    settle();
  });

  // A reloaded detail keeps what the reader had unfolded and how bodies were shown.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    if (!target?.classList?.contains("detail-body")) return;
    target.unfolded = [...target.querySelectorAll("details[open][id]")].map((one) => one.id);
    target.raw = [...target.querySelectorAll(".has-pretty[data-view=raw]")].map((one) => one.id);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    if (!target?.classList?.contains("detail-body")) return;
    for (const id of target.unfolded ?? []) document.getElementById(id)?.setAttribute("open", "");
    for (const id of target.raw ?? []) document.querySelector(`#${CSS.escape(id)} [data-show=raw]`)?.click();
  });

  feed.addEventListener("htmx:sseBeforeMessage", (event) => {
    lastId = event.detail.lastEventId || lastId;
  });
  feed.addEventListener("htmx:sseMessage", () => {
    for (const id of refresh) load(document.getElementById(id));
    refresh = [];
    settle();
  });
  feed.addEventListener("htmx:sseOpen", () => {
    connected = true;
    showState();
  });
  feed.addEventListener("htmx:sseError", () => {
    connected = false;
    showState();
  });

  // A hidden tab gives its connection back (browsers allow six to a host) and catches up from the table later.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source?.close();
    else if (source?.readyState === EventSource.CLOSED) source.dispatchEvent(new Event("error"));
  });

  setInterval(() => {
    if (!unsaid.rows) return;
    const failed = unsaid.failed ? `, ${unsaid.failed} failed` : "";
    summary.textContent = `${unsaid.rows} ${unsaid.rows === 1 ? "delivery" : "deliveries"} updated${failed}`;
    unsaid.rows = unsaid.failed = 0;
  }, SAY_EVERY_MS);

  showState();
})();
