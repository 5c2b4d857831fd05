// Keeps the list of all sessions up to date, and ends with the session of whoever
// looks at it. Without this script the page says when it was made, and the link
// beside it shows it anew.
(() => {
  'use strict';
  const office = document.querySelector('[data-live]');
  if (!office || !window.EventSource) return;
  const find = name => office.querySelector(`[data-${name}]`);
  const list = find('list'), happened = find('happened'), state = find('state'), said = find('said');
  if (!list) return; // the search makes no sense

  const most = 30; // events shown
  const quiet = 10_000; // milliseconds between two things said to a screen reader

  const source = new EventSource(office.dataset.live);
  const on = (name, act) => source.addEventListener(name, message => act(JSON.parse(message.data)));

  on('list', message => {
    show('on', 'Live: changes appear by themselves.');
    const fresh = parse(message.html);
    if (!merge(list.querySelector('tbody'), fresh.querySelector('tbody'))) {
      list.replaceChildren(fresh);
      return;
    }
    for (const part of ['.found', '.pages']) replace(list.querySelector(part), fresh.querySelector(part));
  });
  on('happened', message => {
    happened.prepend(...[...parse(message.html).children].map(isNew));
    while (happened.children.length > most) happened.lastElementChild.remove();
    say(message.text);
  });
  on('over', message => over(message.text));
  let opened = false;
  source.onopen = () => { opened = true; };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) show('off', 'The connection is lost. Trying again…');
    else if (opened) over('This list is not kept up to date any more.');
    // The page itself was for us to see. Most likely too many others are open.
    else show('off', 'Shown as it was when the page was opened: nothing keeps it up to date now.');
  };
  addEventListener('pagehide', () => source.close());
  addEventListener('pageshow', event => { if (event.persisted) location.reload(); });

  // parse turns a piece of the page, made and escaped by the server, into nodes.
  function parse(html) {
    const template = document.createElement('template');
    template.innerHTML = html;
    return template.content;
  }

  // merge changes only the rows that differ, so that neither the keyboard's focus
  // nor a reader's place is lost.
  function merge(rows, fresh) {
    if (!rows || !fresh) return false;
    const focused = rows.contains(document.activeElement) && document.activeElement.getAttribute('href');
    const old = new Map([...rows.children].map(row => [row.id, row]));
    let before = null;
    for (const row of [...fresh.children]) {
      let kept = old.get(row.id);
      old.delete(row.id);
      if (!kept) {
        kept = isNew(row);
      } else if (!kept.isEqualNode(plain(row, kept))) {
        kept.replaceWith(row);
        kept = row;
      }
      const place = before ? before.nextElementSibling : rows.firstElementChild;
      if (place !== kept) rows.insertBefore(kept, place);
      before = kept;
    }
    for (const row of old.values()) row.remove();
    // A row that is replaced or moved has lost it.
    if (focused && !rows.contains(document.activeElement)) {
      rows.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
    }
    return true;
  }

  // plain gives a row what only this script has given to the one it is compared with.
  function plain(row, kept) {
    if (kept.hasAttribute('class')) row.className = kept.className;
    return row;
  }

  function isNew(element) {
    element.classList.add('new');
    return element;
  }

  function replace(old, fresh) {
    if (old && fresh) { if (!old.isEqualNode(fresh)) old.replaceWith(fresh); }
    else if (old) old.remove();
    else if (fresh) list.append(fresh);
  }

  // say tells a screen reader the last of what happened, and not too often.
  let waiting = '', timer = 0;
  function say(text) {
    waiting = text;
    if (timer) return;
    said.textContent = waiting;
    waiting = '';
    timer = setTimeout(() => {
      timer = 0;
      if (waiting) say(waiting);
    }, quiet);
  }

  function show(how, text) {
    office.dataset.lamp = how;
    if (state.textContent !== text) state.textContent = text;
  }

  // over takes away what the session was needed to see.
  function over(text) {
    source.close();
    clearTimeout(timer);
    said.textContent = '';
    show('over', text);
    const gone = '.search, .list, .happened, .whole', lost = document.activeElement?.closest(gone);
    for (const part of office.querySelectorAll(gone)) part.remove();
    find('again').textContent = 'Go on';
    if (lost) find('again').focus();
  }
})();
