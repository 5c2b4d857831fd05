// Two courtesies of a page that shows what belongs to somebody: it warns before
// the session ends, with a way to stay, and it clears itself when the session
// has ended elsewhere. Whether one is signed in is decided by the server alone;
// without this script everything works, but for the two.
'use strict';

(() => {
	const pollEvery = 20_000;
	const patience = 5_000; // between questions when the time is up

	const user = document.body.dataset.user ?? '';
	const tabs = new BroadcastChannel('cloakroom');
	// A hint for the other tabs of this browser. They do not believe it, but ask.
	tabs.postMessage(user);
	if (!user) return;

	const warnBefore = Number(document.body.dataset.warn) * 1000;
	const dialog = document.getElementById('warning');
	let idleEnd = Infinity, absoluteEnd = Infinity;
	let asked = 0, question = 0, answered = 0, ended = false;
	let silence = 0; // questions without an answer since the time is up
	// The way to stay at the absolute end is a page that must not be covered.
	let dismissed = new URL(dialog.querySelector('a').href).pathname === location.pathname ||
		sessionStorage.getItem('dismissed') !== null;

	// ask finds out how long the session lasts. It is no activity.
	async function ask() {
		const mine = ++question, at = asked = Date.now();
		let answer;
		try {
			const response = await fetch('/session', {signal: AbortSignal.timeout(10_000)});
			if (!response.ok) return; // the server does not know: that is no end
			answer = await response.json();
		} catch {
			return; // no network
		}
		if (mine < answered || ended) return; // a later one was faster
		answered = mine;
		silence = 0;
		if (answer.user !== user) return end();
		idleEnd = at + answer.idle * 1000;
		absoluteEnd = at + answer.absolute * 1000;
		show();
	}

	// show opens or closes the warning, as the time demands.
	function show() {
		const left = Math.min(idleEnd, absoluteEnd) - Date.now();
		if (left > warnBefore) {
			if (dialog.open) dialog.close();
			sessionStorage.removeItem('dismissed');
			return;
		}
		const byIdle = idleEnd < absoluteEnd;
		for (const part of dialog.querySelectorAll('.for-idle')) part.hidden = !byIdle;
		for (const part of dialog.querySelectorAll('.for-absolute')) part.hidden = byIdle;
		dialog.querySelector('.left').textContent = words(left);
		if (!dialog.open && left > 0 && (byIdle || !dismissed)) dialog.showModal();
	}

	function words(left) {
		const seconds = Math.max(0, Math.ceil(left / 1000));
		const minutes = Math.floor(seconds / 60);
		const many = (n, unit) => n + ' ' + unit + (n === 1 ? '' : 's');
		if (minutes === 0) return many(seconds, 'second');
		if (seconds % 60 === 0) return many(minutes, 'minute');
		return many(minutes, 'minute') + ' ' + many(seconds % 60, 'second');
	}

	// stay tells the server that the user is there, and the other tabs.
	async function stay() {
		try {
			await fetch('/session/stay');
		} catch {
			// no network: asking will tell
		}
		await ask();
		tabs.postMessage(user);
	}

	// end leaves nothing of the session on the screen.
	function end() {
		ended = true;
		clearInterval(ticking);
		document.title = 'Signed out – The Cloakroom';
		document.body.replaceChildren(document.getElementById('ended').content.cloneNode(true));
		document.querySelector('h1').focus();
	}

	function tick() {
		const now = Date.now();
		const over = now - Math.min(idleEnd, absoluteEnd);
		const due = over > 0 ? patience : document.visibilityState === 'visible' ? pollEvery : Infinity;
		if (Math.abs(now - asked) >= due) {
			// Our clock alone ends nothing: this tab may have slept while its user
			// went on in another one.
			if (over > 0 && silence++ >= 4) return end(); // nobody answers
			ask();
		}
		show();
	}

	// dismiss lets the user finish what he is doing, on the next pages of this tab,
	// too: nothing else can be done here about a session that is at its end.
	function dismiss() {
		dismissed = true;
		sessionStorage.setItem('dismissed', '');
		dialog.close();
	}

	dialog.querySelector('button.for-idle').addEventListener('click', stay);
	dialog.querySelector('button.for-absolute').addEventListener('click', dismiss);
	dialog.addEventListener('cancel', event => { // Escape is a sign of life
		event.preventDefault();
		if (idleEnd < absoluteEnd) stay(); else dismiss();
	});
	tabs.addEventListener('message', event => {
		if (!ended && (event.data !== user || dialog.open)) ask();
	});
	// Coming back to the page may raise several of these.
	for (const [target, event] of [[document, 'visibilitychange'], [window, 'focus'], [window, 'pageshow']]) {
		target.addEventListener(event, () => {
			if (!ended && document.visibilityState === 'visible' && Date.now() - asked > 1000) ask();
		});
	}
	const ticking = setInterval(tick, 1000);
	ask();
})();
