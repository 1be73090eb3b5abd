// Shows which real photos the regions of a translated picture were drawn from.
//
// showSources(picture, panel, explanation, list = panel) -> function that takes everything away again
//   picture      a positioned element (position: relative) around the <img> of the translated picture
//   panel        element that is filled with the sources of the region that is chosen
//   explanation  what Explanation.to_dict(pictures=True) of art2real.translation.explain holds
//   list         element that is filled with the photos most drawn from
// Names come from anywhere: every text goes through textContent, and only http(s) becomes a link.
const showSources = (() => {
  const STYLE = `
.sources-layer { position: absolute; pointer-events: none; overflow: hidden; }
.sources-layer canvas { position: absolute; left: 0; top: 0; image-rendering: pixelated; }
.sources-mark { position: absolute; border-radius: 2px; outline: 2px solid #fff;
  box-shadow: 0 0 0 4px rgba(0, 0, 0, .75), inset 0 0 0 1px rgba(0, 0, 0, .75); }
.sources-mark.moved { outline-style: dashed; }
.sources-picture { cursor: crosshair; touch-action: manipulation; }
.sources-picture:focus-visible { outline: 3px solid var(--two, #2d6f8e); outline-offset: 3px; }
.sources h3, .sources-photos h3 { margin: 0 0 .2rem; font-size: 1rem; }
.sources .head { display: flex; gap: .8rem; align-items: center; margin: 1.3rem 0 .6rem; }
.sources .head p { font-size: .85rem; margin: 0; }
.sources ul, .sources-photos ol { list-style: none; margin: 0; padding: 0; }
.sources p, .sources-photos p { margin: .3rem 0; color: var(--quiet, #6a655b); }
.sources .row { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.sources .row > li, .sources-photos button { background: var(--card, #fff); border: 1px solid var(--line, #ddd8cc);
  border-radius: 8px; padding: .6rem; }
.sources .row > li { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .5rem .7rem; }
.sources .drawn { display: flex; gap: .4rem; }
.sources .words, .sources-photos .words { font-size: .85rem; line-height: 1.35; min-width: 0; overflow-wrap: anywhere; }
.sources .words > *, .sources-photos .words > * { display: block; }
.sources b, .sources-photos b { font-variant-numeric: tabular-nums; }
.sources a { color: var(--two, #2d6f8e); }
.sources .quiet, .sources-photos .quiet { color: var(--quiet, #6a655b); }
.sources-patch, .sources-photo { display: block; position: relative; border-radius: 3px; overflow: hidden;
  background: var(--line, #ddd8cc); }
.sources-patch { width: 64px; height: 64px; flex: none; }
.sources-photo { width: 96px; height: 96px; flex: none; }
.sources-patch canvas { width: 100%; height: 100%; display: block; image-rendering: pixelated; }
.sources-photo canvas { width: 100%; height: 100%; display: block; }
.sources-photos ol { display: flex; gap: .5rem; overflow-x: auto; padding: 4px 4px .6rem; margin: 0 -4px; }
.sources-photos li { flex: none; width: 8.2rem; }
.sources-photos button { width: 100%; height: 100%; display: flex; flex-direction: column; gap: .35rem; text-align: left;
  font: inherit; color: inherit; cursor: pointer; }
.sources-photos .words { width: 100%; }
.sources-photos button[aria-pressed="true"] { border-color: var(--one, #b4552d); box-shadow: inset 0 0 0 1px var(--one, #b4552d); }
.sources-photos button:focus-visible { outline: 3px solid var(--two, #2d6f8e); outline-offset: 2px; }
`;
  const LISTED = 12;
  const HELP = "Choose a place in the picture to see its sources: click or tap it, or move with the arrow keys and press Enter.";

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const picturesOf = (uri) => {
    const image = new Image();
    image.src = uri;
    return image;
  };

  // A part of an image in its own pixels: the browser scales it, blurred or not as the style says.
  const drawn = (image, x, y, width, height) => {
    const canvas = element("canvas");
    canvas.width = Math.max(1, Math.round(width));
    canvas.height = Math.max(1, Math.round(height));
    canvas.setAttribute("aria-hidden", "true");
    image.decode().then(() => {
      canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
    }, () => {});
    return canvas;
  };

  const tile = (image, number, columns, size) =>
    drawn(image, (number % columns) * size, Math.floor(number / columns) * size, size, size);

  const named = (photo) => {
    const where = photo.place || photo.source;
    if (!/^https?:\/\//i.test(where)) {
      const name = element("span", "", photo.source);
      if (where !== photo.source) name.title = where;
      return name;
    }
    const link = element("a", "", photo.source);
    link.href = where;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    return link;
  };

  const rights = (photo) => [photo.licence, photo.attribution].filter(Boolean).join(", ");
  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

  let styled = false;
  const style = () => {
    if (styled) return;
    // Not a style element: a content security policy may forbid those.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    styled = true;
  };

  const running = new WeakMap();

  return (picture, panel, explanation, list = panel) => {
    if (running.has(picture)) running.get(picture)();
    style();
    const { grid, scales, squares, photos, thumbnails } = explanation;
    const field = Object.fromEntries(explanation.neighbour_fields.map((name, at) => [name, at]));
    const image = picture.querySelector("img");
    const atlases = scales.map((scale) => ({
      image: picturesOf(scale.patches.uri),
      at: new Map(scale.patches.rows.map((row, number) => [row, number])),
    }));
    const thumbs = picturesOf(thumbnails.uri);
    const ending = new AbortController();
    let marked = null; // the region with the mark
    let chosen = null; // the region whose sources are shown
    let photo = null; // the photo whose regions are lit

    const layer = element("div", "sources-layer");
    const light = element("canvas");
    const mark = element("div", "sources-mark");
    light.hidden = mark.hidden = true;
    layer.append(light, mark);
    picture.append(layer);
    const sources = element("div", "sources");
    sources.setAttribute("aria-live", "polite");
    panel.append(sources);
    const photoList = element("div", "sources-photos");
    list.append(photoList);

    const before = ["tabindex", "role", "aria-label"].map((name) => [name, picture.getAttribute(name)]);
    picture.classList.add("sources-picture");
    picture.tabIndex = 0;
    picture.setAttribute("role", "application");
    picture.setAttribute("aria-label",
      "Translated picture. The arrow keys move a mark, Enter shows the photos of its place, Escape clears it.");

    const fit = () => {
      const outer = picture.getBoundingClientRect();
      const inner = image.getBoundingClientRect();
      layer.style.left = `${inner.left - outer.left - picture.clientLeft}px`;
      layer.style.top = `${inner.top - outer.top - picture.clientTop}px`;
      layer.style.width = `${inner.width}px`;
      layer.style.height = `${inner.height}px`;
    };
    const watcher = new ResizeObserver(fit);
    watcher.observe(image);
    watcher.observe(picture);
    fit();

    // Left, top, width and height of a region in pixels of the picture; the last ones are cut.
    const box = (region) => {
      const left = (region % grid.columns) * grid.side;
      const top = Math.floor(region / grid.columns) * grid.side;
      return [left, top, Math.min(grid.side, explanation.width - left), Math.min(grid.side, explanation.height - top)];
    };

    const place = (item, [left, top, width, height], across, down) => {
      item.style.left = `${(100 * left) / across}%`;
      item.style.top = `${(100 * top) / down}%`;
      item.style.width = `${(100 * width) / across}%`;
      item.style.height = `${(100 * height) / down}%`;
      return item;
    };

    const showMark = () => {
      mark.hidden = marked === null;
      if (marked === null) return;
      place(mark, box(marked), explanation.width, explanation.height);
      mark.classList.toggle("moved", marked !== chosen);
    };

    const showLight = () => {
      light.hidden = photo === null;
      for (const button of photoList.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.photo) === photo));
      }
      if (photo === null) return;
      light.width = grid.columns;
      light.height = grid.rows;
      // The grid reaches beyond the picture where its last regions are cut.
      light.style.width = `${(100 * grid.columns * grid.side) / explanation.width}%`;
      light.style.height = `${(100 * grid.rows * grid.side) / explanation.height}%`;
      const shade = light.getContext("2d");
      for (let region = 0; region < grid.rows * grid.columns; region += 1) {
        const nearest = scales.map((scale) => scale.regions[region][2][0]);
        const hits = nearest.filter((each) => each && squares[each[field.square]].photo === photo).length;
        shade.fillStyle = `rgba(0, 0, 0, ${hits ? 0 : 0.72})`;
        shade.fillRect(region % grid.columns, Math.floor(region / grid.columns), 1, 1);
      }
    };

    const thumbnail = (square, spot) => {
      const frame = element("div", "sources-photo");
      if (square >= thumbnails.count) {
        frame.style.display = "none";
        return frame;
      }
      frame.append(tile(thumbs, square, thumbnails.columns, thumbnails.size));
      if (spot) frame.append(place(element("div", "sources-mark"), spot, explanation.square_size, explanation.square_size));
      return frame;
    };

    const neighbourItem = (scale, atlas, neighbour) => {
      const square = neighbour[field.square];
      const of = photos[squares[square].photo];
      const item = element("li");
      const pair = element("div", "drawn");
      const patch = element("div", "sources-patch");
      if (atlas.at.has(neighbour[field.row])) {
        patch.append(tile(atlas.image, atlas.at.get(neighbour[field.row]), scale.patches.columns, scale.size));
      }
      pair.append(patch, thumbnail(square, [neighbour[field.x], neighbour[field.y], scale.size, scale.size]));
      const words = element("div", "words");
      words.append(named(of));
      if (rights(of)) words.append(element("span", "quiet", rights(of)));
      words.append(element("span", "", `similarity ${neighbour[field.similarity].toFixed(3)}`));
      words.append(element("span", "quiet", `at ${Math.round(neighbour[field.photo_x])}, ` +
        `${Math.round(neighbour[field.photo_y])} of ${of.width} × ${of.height} pixels`));
      item.append(pair, words);
      return item;
    };

    const showRegion = () => {
      sources.replaceChildren();
      if (!scales.length) {
        sources.append(element("p", "", "The picture is smaller than the patches of the photos: nothing can be compared."));
        return;
      }
      if (chosen === null) {
        sources.append(element("p", "", HELP));
        return;
      }
      const line = Math.floor(chosen / grid.columns) + 1;
      const column = (chosen % grid.columns) + 1;
      sources.append(element("p", "", `Region in row ${line} of ${grid.rows}, column ${column} of ${grid.columns}.`));
      scales.forEach((scale, at) => {
        const [y, x, neighbours] = scale.regions[chosen];
        const head = element("div", "head");
        const patch = element("div", "sources-patch");
        const zoom = image.naturalWidth / explanation.width;
        patch.append(drawn(image, x * zoom, y * zoom, scale.size * zoom, scale.size * zoom));
        const words = element("div");
        words.append(element("h3", "", `${scale.size} × ${scale.size} pixels`));
        words.append(element("p", "", neighbours.length
          ? `The picture here, and the nearest of ${scale.rows.toLocaleString("en")} real patches:`
          : "No source: a plain patch, near the average of all photos, or none was found."));
        head.append(patch, words);
        const row = element("ul", "row");
        row.append(...neighbours.map((each) => neighbourItem(scale, atlases[at], each)));
        sources.append(head, row);
      });
    };

    const showPhotos = () => {
      const drawnFrom = photos.filter((each) => each.share > 0);
      if (!drawnFrom.length) return;
      const all = `${drawnFrom.length.toLocaleString("en")} photo${drawnFrom.length === 1 ? "" : "s"}`;
      photoList.append(element("h3", "", "Photos most drawn from"));
      photoList.append(element("p", "", `The nearest real patches of all regions lie in ${all}. ` +
        "Choose one to light the regions that draw from it."));
      const items = element("ol");
      drawnFrom.slice(0, LISTED).forEach((each) => {
        const number = photos.indexOf(each);
        const button = element("button");
        button.type = "button";
        button.dataset.photo = number;
        button.setAttribute("aria-pressed", "false");
        const words = element("span", "words");
        words.append(element("b", "", percent(each.share)), element("span", "", each.source));
        if (rights(each)) words.append(element("span", "quiet", rights(each)));
        button.append(thumbnail(squares.findIndex((square) => square.photo === number)), words);
        button.addEventListener("click", () => {
          photo = photo === number ? null : number;
          showLight();
        });
        const item = element("li");
        item.append(button);
        items.append(item);
      });
      photoList.append(items);
    };

    const choose = (region) => {
      marked = chosen = region;
      showMark();
      showRegion();
    };

    const clear = () => {
      photo = null;
      choose(null);
      showLight();
    };

    const onClick = (event) => {
      if (event.target.closest("a, button, input, label")) return;
      const inner = image.getBoundingClientRect();
      const across = (event.clientX - inner.left) / inner.width;
      const down = (event.clientY - inner.top) / inner.height;
      if (across < 0 || down < 0 || across >= 1 || down >= 1) return;
      const line = Math.floor((down * explanation.height) / grid.side);
      choose(line * grid.columns + Math.floor((across * explanation.width) / grid.side));
    };

    const onKey = (event) => {
      if (event.target !== picture || event.altKey || event.ctrlKey || event.metaKey) return;
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (step) {
        const from = marked === null ? Math.floor(grid.rows / 2) * grid.columns + Math.floor(grid.columns / 2) : marked;
        const line = Math.floor(from / grid.columns) + (marked === null ? 0 : step[0]);
        const column = (from % grid.columns) + (marked === null ? 0 : step[1]);
        marked = Math.min(Math.max(line, 0), grid.rows - 1) * grid.columns + Math.min(Math.max(column, 0), grid.columns - 1);
        showMark();
      } else if ((event.key === "Enter" || event.key === " ") && marked !== null) {
        choose(marked);
      } else if (event.key === "Escape") {
        clear();
      } else {
        return;
      }
      event.preventDefault();
    };

    picture.addEventListener("click", onClick, { signal: ending.signal });
    picture.addEventListener("keydown", onKey, { signal: ending.signal });
    showRegion();
    showPhotos();

    const end = () => {
      ending.abort();
      watcher.disconnect();
      layer.remove();
      sources.remove();
      photoList.remove();
      picture.classList.remove("sources-picture");
      for (const [name, value] of before) {
        if (value === null) picture.removeAttribute(name);
        else picture.setAttribute(name, value);
      }
      running.delete(picture);
    };
    running.set(picture, end);
    return end;
  };
})();
