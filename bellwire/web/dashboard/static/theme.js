// Runs before the first paint: a theme that was chosen earlier wins over the system's.
(() => {
  let theme = "";
  try {
    theme = localStorage.getItem("bellwire-theme") || "";
  } catch {
    // Storage may be forbidden; then the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
