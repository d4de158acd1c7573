/* What pages can do beyond text: copy code, enlarge figures, search. Without it everything can still be read. */
"use strict";
(() => {
  const scrolls = () => {
    for (const box of document.querySelectorAll(".highlight, .output_subarea, .codehilite, table, .wide, .scroll"))
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; // so that the keyboard can scroll it
  };
  addEventListener("load", scrolls);
  addEventListener("resize", scrolls);

  for (const code of document.querySelectorAll(".input .highlight")) {
    const button = document.createElement("button"), holder = document.createElement("div");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent.trim() + "\n");
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected: press Ctrl+C";
      }
      setTimeout(() => (button.textContent = "Copy"), 2500);
    });
    holder.className = "with-copy";
    code.replaceWith(holder);
    holder.append(code, button);
  }

  const pictures = [...document.querySelectorAll("main img")].filter(image => image.naturalWidth !== 1 && !image.closest("a"));
  if (pictures.length) {
    const dialog = document.createElement("dialog"), close = document.createElement("button");
    dialog.className = "enlarged";
    dialog.setAttribute("aria-label", "Figure, enlarged");
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", event => event.target.localName !== "img" && dialog.close());
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.tabIndex = 0;
    dialog.append(close, frame);
    document.body.append(dialog);
    for (const image of pictures) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "enlarge";
      button.title = "Enlarge this figure";
      image.replaceWith(button);
      button.append(image);
      button.addEventListener("click", () => {
        frame.replaceChildren(image.cloneNode());
        dialog.showModal();
      });
    }
  }

  const field = document.getElementById("search"), results = document.getElementById("results");
  if (!field) return;
  const root = field.dataset.root;
  let index = null;
  const load = () =>
    (index ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${root}search.js`;
      script.onload = () => resolve(window.SEARCH);
      script.onerror = reject;
      document.head.append(script);
    }));
  const escape = text => text.replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
  const plain = text => text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "");
  async function look() {
    const words = plain(field.value).split(/\s+/).filter(Boolean);
    if (!words.length) return (results.hidden = true);
    const found = (await load())
      .map(entry => {
        const heading = plain(entry.heading), text = plain(entry.text);
        if (!words.every(word => heading.includes(word) || text.includes(word))) return null;
        return { entry, score: words.filter(word => heading.includes(word)).length };
      })
      .filter(Boolean)
      .sort((one, other) => other.score - one.score)
      .slice(0, 12);
    results.innerHTML = found
      .map(({ entry }) => {
        const at = Math.max(0, plain(entry.text).indexOf(words[0]) - 40), excerpt = entry.text.slice(at, at + 140);
        return `<li><a href="${root}${entry.address}"><strong>${escape(entry.heading)}</strong> <span>${escape(entry.page)}</span></a><p>${escape(excerpt)}</p></li>`;
      })
      .join("") || "<li>Nothing found.</li>";
    results.hidden = false;
  }
  field.addEventListener("focus", load, { once: true });
  field.addEventListener("input", look);
  field.addEventListener("keydown", event => {
    if (event.key === "Escape") results.hidden = true;
    if (event.key === "ArrowDown") results.querySelector("a")?.focus();
  });
  results.addEventListener("keydown", event => {
    const links = [...results.querySelectorAll("a")], at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown") links[at + 1]?.focus();
    if (event.key === "ArrowUp") (links[at - 1] ?? field).focus();
    if (event.key === "Escape") field.focus();
    if (event.key.startsWith("Arrow")) event.preventDefault();
  });
  document.addEventListener("click", event => {
    if (!event.target.closest(".search")) results.hidden = true;
  });
})();
