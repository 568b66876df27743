query => {
  // A query, which says whether the page opened anew by itself (stream.js). One of the visitor's own photos comes
  // with those that this tab of the browser keeps (keep.js): if it names them, or is of another tab of the page, whose
  // address has not what the Studio shows (history.js).
  try {
    if (sessionStorage.getItem('anew')) query += '&anew=yes';
    sessionStorage.removeItem('anew');
    const read = () => Object.fromEntries(new URLSearchParams(query)), {tab} = read();
    // Interpolate has settings of the same names.
    const shown = tab && tab !== 'interpolate' && !read().example && sessionStorage.getItem('studio');
    if (shown) query += '&' + shown;
    const {example} = read(), named = example === 'own';
    const photos = named || (tab && !example) ? sessionStorage.getItem('photos') : '';
    // As base64url, which needs no escapes: the server counts each escape as a value, and refuses too many.
    const sent = photos?.replace(/base64,[^"]*/g, data => data.replaceAll('+', '-').replaceAll('/', '_'));
    return sent ? query + (named ? '' : '&example=own') + '&photos=' + encodeURIComponent(sent) : query;
  } catch { return query; }
}
