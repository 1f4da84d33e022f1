// What every page has: theme switch, copy buttons, times that go on counting, filters, errors in words.
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];

  function showTheme(button) {
    button.textContent = `Theme: ${root.dataset.theme || "system"}`;
  }

  function nextTheme(button) {
    const theme = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % themes.length];
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      localStorage.setItem("bellwire-theme", theme);
    } catch {
      // Not remembered, then.
    }
    showTheme(button);
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Without https there is no clipboard: select the text, so that one key press copies it.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
      setTimeout(() => (button.textContent = "Copy"), 1500);
      return;
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  function showBody(button) {
    const body = button.closest(".body");
    body.dataset.view = button.dataset.show;
    for (const one of body.querySelectorAll("[data-show]")) one.setAttribute("aria-pressed", String(one === button));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("themeSwitch" in button.dataset) nextTheme(button);
    else if (button.dataset.copy) copy(button);
    else if (button.dataset.show) showBody(button);
  });

  // The same rule as `ago` in words.py.
  function ago(ms) {
    const away = Math.abs(ms);
    if (away < 1000) return "now";
    const [unit, name] = [[86400000, "d"], [3600000, "h"], [60000, "m"], [1000, "s"]].find(([unit]) => away >= unit);
    const text = `${Math.floor(away / unit)}${name}`;
    return ms >= 0 ? `${text} ago` : `in ${text}`;
  }

  function countTimes() {
    if (document.hidden) return;
    for (const time of document.querySelectorAll("time[data-since]")) {
      let text = ago(Date.now() - Date.parse(time.dateTime));
      if (time.dataset.since === "due" && !text.startsWith("in ")) text = "due";
      if (time.dataset.since === "brief") text = text.replace(" ago", "");
      if (time.textContent !== text) time.textContent = text;
    }
  }

  for (const box of document.querySelectorAll("[data-tick-all]")) {
    box.addEventListener("change", () => {
      for (const one of box.form.querySelectorAll('tbody input[type="checkbox"]')) one.checked = box.checked;
    });
  }

  for (const form of document.querySelectorAll("form.filters")) {
    form.addEventListener("change", () => form.requestSubmit());
    form.addEventListener("submit", () => {
      // An empty filter stays out of the address.
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
  }
  addEventListener("pageshow", () => {
    for (const field of document.querySelectorAll("form.filters [disabled]")) field.disabled = false;
  });

  let hide;
  function alertWith(text) {
    const box = document.getElementById("alert");
    box.textContent = text;
    box.hidden = false;
    clearTimeout(hide);
    hide = setTimeout(() => (box.hidden = true), 8000);
  }
  document.addEventListener("htmx:responseError", (event) => {
    const { status, responseText } = event.detail.xhr;
    const known = [403, 404, 409].includes(status);
    alertWith(known && responseText.length < 300 ? responseText.trim() : `The hub answered ${status}. Please try again.`);
  });
  document.addEventListener("htmx:sendError", () => alertWith("The hub cannot be reached."));

  for (const button of document.querySelectorAll("[data-theme-switch]")) showTheme(button);
  setInterval(countTimes, 1000);
})();
