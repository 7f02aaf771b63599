// Lets the reader choose in a "Your prediction" box, and remembers the choice on this device.
// Without this script the box is a plain list.
document.querySelectorAll(".admonition.prediction").forEach((box, number) => {
  const key = `prediction ${location.pathname} ${number}`;
  let chosen = null;
  try { chosen = localStorage.getItem(key); } catch { /* no storage: the choice lasts a visit */ }
  box.querySelectorAll(":scope > ul > li, :scope > ol > li").forEach((item, index) => {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: key, checked: chosen === String(index) });
    label.append(radio, ...item.childNodes);
    item.replaceChildren(label);
    radio.addEventListener("change", () => {
      try { localStorage.setItem(key, String(index)); } catch { /* as above */ }
    });
  });
});
