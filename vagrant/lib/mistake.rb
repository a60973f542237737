# frozen_string_literal: true

module Kit
  # Something that the person at the keyboard can mend: a sentence, never a stack trace.
  class Mistake < StandardError; end

  # Runs a block of the Vagrantfile; a mistake in it ends Vagrant with its sentence.
  def self.or_abort
    yield
  rescue Mistake => e
    abort "Error: #{e.message}"
  end
end
