/* Tips and canvases. */

function showTip(event, text) {
  tip.textContent = text;
  tip.hidden = !text;
  const width = Math.min(420, tip.offsetWidth);
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
  tip.style.top = `${event.clientY + 16}px`;
}

/* A canvas that is drawn again when its size or the colours of the page change. */
function canvas(height, draw, label) {
  const made = element("canvas", { role: "img", "aria-label": label, style: `height:${height}px` });
  const redraw = () => {
    const scale = devicePixelRatio || 1;
    made.width = Math.max(1, Math.round(made.clientWidth * scale));
    made.height = Math.round(height * scale);
    const context = made.getContext("2d");
    context.scale(scale, scale);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    draw(context, made.clientWidth, height);
  };
  new ResizeObserver(redraw).observe(made);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  made.addEventListener("mouseleave", (event) => showTip(event, ""));
  made.redraw = redraw;
  return made;
}

function label(context, text, x, y, width, colour) {
  if (width < 24) return;
  const fitting = Math.floor((width - 6) / 6.2);
  context.fillStyle = colour;
  context.fillText(text.length <= fitting ? text : `${text.slice(0, Math.max(fitting - 1, 1))}…`, x + 3, y);
}
